/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Included by the C library's headers too, so it includes nothing. */
#ifndef KPEEL_SHIM_ERRNO_H
#define KPEEL_SHIM_ERRNO_H

#define EINTR 4
#define ENOMEM 12
#define EINVAL 22
#define EFBIG 27
#define ERANGE 34
#define EBADMSG 74
#define EPROTONOSUPPORT 93

#endif
