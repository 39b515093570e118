//! What a program file is, as far as it decides whether our library can be loaded into it.
