//! Control: signals in, commands to the other threads.
