//! The dashboard's entry in the browser; everything is in the library, where it can be tested natively.

fn main() {
    frontend::start();
}
