//! Finds plugins, negotiates with them and runs every call in a worker process of its own.
