/* The version of everything that is built from this tree. */
#pragma once

#define SLUICE_VERSION "0.1.0"
