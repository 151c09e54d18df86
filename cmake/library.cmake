# libstile, shared and static, from the object libraries of the folders, and how
# both are installed.
set(stile_objects $<TARGET_OBJECTS:stile_src> $<TARGET_OBJECTS:stile_local>
                  $<TARGET_OBJECTS:stile_backends>)
# What the library is linked with, here; the pkg-config names of it; and the
# same as the targets that cmake/stile-config.cmake.in finds on the machine of
# whoever links the static library.
set(stile_needs Threads::Threads)
set(stile_requires "")
set(stile_static_needs Threads::Threads)
if(STILE_BACKEND_REDIS)
  list(APPEND stile_objects $<TARGET_OBJECTS:stile_redis>)
  list(APPEND stile_needs PkgConfig::HIREDIS)
  list(APPEND stile_requires hiredis)
endif()
if(STILE_CONFIG_FILE)
  list(APPEND stile_needs PkgConfig::INIH)
  list(APPEND stile_requires inih)
endif()
if(stile_requires)
  list(APPEND stile_static_needs PkgConfig::STILE_REQUIRES)
endif()

# Before 1.0 a minor version may change the binary interface.
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(stile_soversion ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
else()
  set(stile_soversion ${PROJECT_VERSION_MAJOR})
endif()

add_library(stile_shared SHARED ${stile_objects})
add_library(stile_static STATIC ${stile_objects})
add_library(stile::stile ALIAS stile_shared)
add_library(stile::stile_static ALIAS stile_static)
set_target_properties(stile_shared PROPERTIES
  EXPORT_NAME stile VERSION ${PROJECT_VERSION} SOVERSION ${stile_soversion})
foreach(library stile_shared stile_static)
  set_target_properties(${library} PROPERTIES OUTPUT_NAME stile LINKER_LANGUAGE C)
  target_include_directories(${library} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${library} PRIVATE "$<BUILD_INTERFACE:${stile_needs};stile_build>")
endforeach()
target_link_libraries(stile_static INTERFACE "$<INSTALL_INTERFACE:${stile_static_needs}>")
if(NOT STILE_SANITIZE)
  target_link_options(stile_shared PRIVATE -Wl,-z,defs)
endif()

if(NOT STILE_INSTALL)
  return()
endif()

include(CMakePackageConfigHelpers)
set(stile_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/stile)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/stile DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")
foreach(kind shared static)
  install(TARGETS stile_${kind} EXPORT stile-${kind}
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT stile-${kind} NAMESPACE stile:: DESTINATION ${stile_package_dir})
endforeach()

configure_package_config_file(
  ${PROJECT_SOURCE_DIR}/cmake/stile-config.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/stile-config.cmake
  INSTALL_DESTINATION ${stile_package_dir}
  NO_SET_AND_CHECK_MACRO)
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(stile_compatibility SameMinorVersion)
else()
  set(stile_compatibility SameMajorVersion)
endif()
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/stile-config-version.cmake
                                 COMPATIBILITY ${stile_compatibility})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/stile-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/stile-config-version.cmake
        DESTINATION ${stile_package_dir})

# stile.pc says where things are relative to itself, so that what is installed
# can be moved, and cmake --install --prefix is right.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(stile_pc_prefix "${CMAKE_INSTALL_PREFIX}")
else()
  file(RELATIVE_PATH stile_pc_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" stile_pc_prefix "\${pcfiledir}/${stile_pc_prefix}")
endif()
foreach(kind LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${kind}}")
    set(stile_pc_${kind} "${CMAKE_INSTALL_${kind}}")
  else()
    set(stile_pc_${kind} "\${prefix}/${CMAKE_INSTALL_${kind}}")
  endif()
endforeach()
list(JOIN stile_requires " " stile_pc_requires)
configure_file(${PROJECT_SOURCE_DIR}/cmake/stile.pc.in ${CMAKE_CURRENT_BINARY_DIR}/stile.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/stile.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
