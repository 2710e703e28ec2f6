//! A program that is nothing but the hidden subcommand, for tests and benchmarks of this
//! crate, whose own programs belong to the test harness. `dsperse` is its own worker.

fn main() {
    if dsperse_plugin_host::is_worker() {
        dsperse_plugin_host::worker_main();
    }
    eprintln!("this program only serves as a worker in tests of dsperse-plugin-host");
    std::process::exit(2);
}
