//! The macro that turns a type into a plugin.

/// Exports a type that implements [`Backend`](crate::Backend) as the backend of this
/// library. Use it once, in the root of a crate of type `cdylib`.
///
/// The page of this crate has an example.
///
/// It defines three symbols: `dsperse_backend_v1` (the C door), the root module of
/// `abi_stable` (the other door) and `dsperse_backend_manifest`, a short JSON text in the
/// section `.dsperse` that hosts read without running any code. The manifest's name is
/// the crate's library name without the prefix `dsperse_backend_`.
#[macro_export]
macro_rules! export_backend {
    ($backend:ty) => {
        #[allow(unsafe_code)] // the names of exported symbols
        const _: () = {
            static TABLE: $crate::abi::BackendV1 = $crate::abi::BackendV1 {
                struct_size: ::std::mem::size_of::<$crate::abi::BackendV1>(),
                abi_major: $crate::abi::ABI_MAJOR,
                abi_minor: $crate::abi::ABI_MINOR,
                describe: ::std::option::Option::Some($crate::shim::describe::<$backend>),
                call: ::std::option::Option::Some($crate::shim::call::<$backend>),
            };

            // SAFETY: the name belongs to DSperse's plugin ABI.
            #[unsafe(export_name = "dsperse_backend_v1")]
            extern "C" fn entry() -> *const $crate::abi::BackendV1 {
                &raw const TABLE
            }

            // SAFETY: the name belongs to abi_stable, which looks for a value of this type.
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static ROOT: $crate::abi::stable::Header = $crate::abi::stable::header::<$backend>();

            const PARTS: &[&str] = &[
                "{\"name\":\"",
                ::std::env!("CARGO_CRATE_NAME"),
                "\",\"version\":\"",
                ::std::env!("CARGO_PKG_VERSION"),
                "\",\"api\":\"",
                $crate::descriptor::API_VERSION_TEXT,
                "\"}",
            ];

            // SAFETY: the section's name belongs to DSperse's plugin ABI; it holds bytes.
            #[unsafe(export_name = "dsperse_backend_manifest")]
            #[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__dsperse"))]
            #[cfg_attr(not(target_os = "macos"), unsafe(link_section = ".dsperse"))]
            static MANIFEST: [u8; $crate::abi::manifest::joined_len(PARTS)] =
                $crate::abi::manifest::join(PARTS);
        };
    };
}
