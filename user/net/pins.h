/* The BPF file system: where pins live, and how they go.
 *
 *     SLUICE_PIN_ROOT/<interface>/link             holds the program on the interface
 *     SLUICE_PIN_ROOT/<interface>/<layout>/<map>   what a restart finds again
 *
 * bpffs takes no dots in names (they are reserved): an interface's dots become colons, which no interface has.
 * Nothing here is thread-safe against itself on one interface: pins_open() takes a lock that lives as long as the
 * folder's descriptor.
 */
#pragma once

#include <limits.h>

#define PINS_FOLDER_MAX 96

/* Mounts the BPF file system where it is missing (which needs CAP_SYS_ADMIN), makes the interface's folder and locks
 * it.  The folder's name goes to ret.  Returns a descriptor, -EBUSY when another process holds it, negative errno. */
int pins_open(const char *interface, char ret[static PINS_FOLDER_MAX]);

/* Removes the files of FOLDER/<name> and then FOLDER/<name> itself; what is not there is removed already. */
int pins_remove_folder(const char *folder, const char *name);

/* Removes every folder in FOLDER but `keep` (NULL: all). */
int pins_remove_others(const char *folder, const char *keep);
