# What stile is compared with, where it is installed.  Not with sanitizers, which
# would have to see into it.
option(STILE_BENCH_PEERS "Let stile-bench measure nsync, GLib and parking_lot if they are there" ON)
if(NOT STILE_BENCH_PEERS OR STILE_SANITIZE)
  return()
endif()

find_library(NSYNC_LIBRARY nsync)
find_path(NSYNC_INCLUDE_DIR nsync.h)
if(NSYNC_LIBRARY AND NSYNC_INCLUDE_DIR)
  target_compile_definitions(stile-bench PRIVATE BENCH_NSYNC)
  target_include_directories(stile-bench SYSTEM PRIVATE ${NSYNC_INCLUDE_DIR})
  target_link_libraries(stile-bench PRIVATE ${NSYNC_LIBRARY})
endif()

find_package(PkgConfig)
if(PKG_CONFIG_FOUND)
  pkg_check_modules(GLIB IMPORTED_TARGET glib-2.0)
endif()
if(GLIB_FOUND)
  target_compile_definitions(stile-bench PRIVATE BENCH_GLIB)
  target_link_libraries(stile-bench PRIVATE PkgConfig::GLIB)
endif()

# parking_lot comes as source from Debian's librust-parking-lot-dev.
set(STILE_RUST_REGISTRY /usr/share/cargo/registry CACHE PATH "Where Debian has the sources in Rust")
find_program(CARGO cargo)
file(GLOB parking_lot_sources ${STILE_RUST_REGISTRY}/parking_lot-0.12.*)
if(CARGO AND parking_lot_sources)
  # Cargo writes beside its manifest.
  set(crate ${CMAKE_CURRENT_BINARY_DIR}/parking_lot)
  set(archive ${crate}/target/release/libbench_parking_lot.a)
  configure_file(parking_lot/Cargo.toml ${crate}/Cargo.toml COPYONLY)
  configure_file(parking_lot/lib.rs ${crate}/lib.rs COPYONLY)
  add_custom_command(OUTPUT ${archive}
    COMMAND ${CARGO} build --quiet --release --offline --target-dir ${crate}/target
            --config "source.crates-io.replace-with='debian'"
            --config "source.debian.directory='${STILE_RUST_REGISTRY}'"
    WORKING_DIRECTORY ${crate}
    DEPENDS ${crate}/Cargo.toml ${crate}/lib.rs
    COMMENT "Compiling parking_lot"
    VERBATIM)
  add_custom_target(bench_parking_lot DEPENDS ${archive})
  add_dependencies(stile-bench bench_parking_lot)
  target_compile_definitions(stile-bench PRIVATE BENCH_PARKING_LOT)
  target_link_libraries(stile-bench PRIVATE ${archive} ${CMAKE_DL_LIBS} m)
endif()
