//! The one place that sees every part: it makes the queues, starts the threads and joins them.
