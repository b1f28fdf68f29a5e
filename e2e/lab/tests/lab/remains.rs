//! Nothing is left in the kernel, however a lab ends.
