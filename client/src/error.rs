//! Errors as text.

use std::error::Error;

/// Joins an error and its causes with `: `. Leaves out a cause that the text already contains, because some
/// errors repeat their cause in their own message.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

/// Returns whether the API server answered with this HTTP status.
pub fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

#[cfg(test)]
mod tests {
    use std::{fmt, io};

    use super::*;

    #[derive(Debug)]
    struct Outer {
        text: &'static str,
        cause: io::Error,
    }

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.text)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.cause)
        }
    }

    fn outer(text: &'static str) -> Outer {
        let cause = io::Error::other("connection refused");
        Outer { text, cause }
    }

    #[test]
    fn causes_are_joined_in_order() {
        assert_eq!(
            error_chain(&outer("cannot connect")),
            "cannot connect: connection refused"
        );
    }

    #[test]
    fn a_cause_that_the_message_repeats_is_left_out() {
        let repeated = "cannot connect: connection refused";
        assert_eq!(error_chain(&outer(repeated)), repeated);
    }

    #[test]
    fn the_http_status_is_that_of_the_answer() {
        let answer = kube::core::Status::failure("gone", "NotFound").with_code(404);
        let error = kube::Error::Api(Box::new(answer));
        assert!(is_status(&error, 404) && !is_status(&error, 403));
    }

    #[test]
    fn an_error_without_a_cause_is_its_message() {
        assert_eq!(error_chain(&io::Error::other("not found")), "not found");
    }
}
