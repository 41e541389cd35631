#pragma once

#include <stddef.h>

// HTTP by libcurl, which is loaded when it is first needed: a build and a program that never ask for it do without.

/// Loads libcurl, once. NULL: it is there; else why it is not.
const char *softgrpo_web_load(void);

/// A flag that ends requests under way.
typedef struct softgrpo_web_stop softgrpo_web_stop;
softgrpo_web_stop *softgrpo_web_stop_make(void);
void softgrpo_web_stop_raise(softgrpo_web_stop *stop);
int softgrpo_web_stop_raised(const softgrpo_web_stop *stop);
void softgrpo_web_stop_free(softgrpo_web_stop *stop);

/// What came of a request.
typedef struct {
  /// 0: no response came; `error` and `code` say why.
  long status;
  int code;
  char error[256];
  /// The response, freed with `softgrpo_web_reply_free`.
  char *body;
  size_t size;
} softgrpo_web_reply;

/// Codes of libcurl that callers tell apart.
enum {
  softgrpo_web_unknown_host = 6,
  softgrpo_web_refused = 7,
  softgrpo_web_late = 28,
};

/// A connection that is kept open between requests; one thread at a time. NULL: there is no memory for it.
void *softgrpo_web_open(void);
void softgrpo_web_close(void *connection);

/// Posts a body, or gets a page, and waits for the response, at most `milliseconds`.
/// @param headers whole lines, NULL at the end.
/// @param body NULL: GET.
/// @param limit bytes of the response beyond which it is an error.
/// @param direct whether a proxy that the environment names is passed by.
/// @param stop NULL: nothing ends the request early.
void softgrpo_web_request(
    void *connection, const char *url, const char *const *headers, const char *body, size_t size, long milliseconds,
    size_t limit, int direct, const softgrpo_web_stop *stop, softgrpo_web_reply *reply);
void softgrpo_web_reply_free(softgrpo_web_reply *reply);
