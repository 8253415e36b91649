/* The page's bytes, taken in by the assembler: no generated source, and the file stays what it is in the tree.  The
 * slice itself is laid out here too, because C does not take the difference of two labels for a constant. */
#include "observe/dashboard.h"

_Static_assert(sizeof(struct slice) == 16 && offsetof(struct slice, len) == 8, "two .8byte below");

__asm__(".pushsection .rodata\n"
	"dashboard_begin:\n"
	".incbin \"user/observe/dashboard.html\"\n"
	"dashboard_end:\n"
	".popsection\n"
	".pushsection .data.rel.ro, \"aw\"\n"
	".balign 8\n"
	".global dashboard_page\n"
	".type dashboard_page, %object\n"
	".size dashboard_page, 16\n"
	"dashboard_page:\n"
	".8byte dashboard_begin\n"
	".8byte dashboard_end - dashboard_begin\n"
	".popsection\n");
