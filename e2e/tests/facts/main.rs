//! Kernel behaviour that the product rests on: one test for each, on the running kernel, with real packets.
