#include "web_client.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The part of curl.h that is used here; its numbers are libcurl's binary interface since version 7.
enum {
  curl_global_default = 3,
  option_write_data = 10001,
  option_url = 10002,
  option_proxy = 10004,
  option_error_buffer = 10010,
  option_post_fields = 10015,
  option_user_agent = 10018,
  option_header = 10023,
  option_post_field_size = 60,
  option_no_progress = 43,
  option_no_signal = 99,
  option_timeout_ms = 155,
  option_connect_timeout_ms = 156,
  option_protocols = 181,
  option_write_function = 20011,
  option_transfer_function = 20219,
  option_transfer_data = 10057,
  info_response_code = 0x200002,
  protocol_http_https = 3,
  error_buffer_size = 256,
};

static struct {
  int (*global_init)(long);
  void *(*open)(void);
  int (*set)(void *, int, ...);
  int (*perform)(void *);
  int (*info)(void *, int, ...);
  void (*reset)(void *);
  void (*close)(void *);
  void *(*append)(void *, const char *);
  void (*free_list)(void *);
  const char *(*text)(int);
} curl;

static char fault[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
  void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
  if (!library) library = dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *reason = dlerror();
    snprintf(fault, sizeof fault, "%s", reason ? reason : "libcurl.so.4 is not there");
    return;
  }
  struct {
    const char *name;
    void **place;
  } names[] = {
      {"curl_global_init", (void **)&curl.global_init}, {"curl_easy_init", (void **)&curl.open},
      {"curl_easy_setopt", (void **)&curl.set},         {"curl_easy_perform", (void **)&curl.perform},
      {"curl_easy_getinfo", (void **)&curl.info},       {"curl_easy_reset", (void **)&curl.reset},
      {"curl_easy_cleanup", (void **)&curl.close},      {"curl_slist_append", (void **)&curl.append},
      {"curl_slist_free_all", (void **)&curl.free_list}, {"curl_easy_strerror", (void **)&curl.text},
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    *names[i].place = dlsym(library, names[i].name);
    if (!*names[i].place) {
      snprintf(fault, sizeof fault, "libcurl.so.4 has no %s", names[i].name);
      return;
    }
  }
  if (curl.global_init(curl_global_default) != 0) snprintf(fault, sizeof fault, "libcurl cannot be initialised");
}

const char *softgrpo_web_load(void) {
  pthread_once(&once, load);
  return fault[0] ? fault : NULL;
}

struct softgrpo_web_stop {
  atomic_int raised;
};

softgrpo_web_stop *softgrpo_web_stop_make(void) { return calloc(1, sizeof(softgrpo_web_stop)); }
void softgrpo_web_stop_raise(softgrpo_web_stop *stop) { atomic_store(&stop->raised, 1); }
int softgrpo_web_stop_raised(const softgrpo_web_stop *stop) { return atomic_load(&stop->raised); }
void softgrpo_web_stop_free(softgrpo_web_stop *stop) { free(stop); }

void *softgrpo_web_open(void) { return softgrpo_web_load() ? NULL : curl.open(); }
void softgrpo_web_close(void *connection) { curl.close(connection); }

struct response {
  softgrpo_web_reply *reply;
  size_t limit;
};

static size_t take(char *bytes, size_t one, size_t count, void *context) {
  struct response *response = context;
  softgrpo_web_reply *reply = response->reply;
  size_t size = one * count;
  if (size > response->limit - reply->size) return 0;
  char *grown = realloc(reply->body, reply->size + size + 1);
  if (!grown) return 0;
  memcpy(grown + reply->size, bytes, size);
  reply->body = grown;
  reply->size += size;
  return size;
}

static int is_stopped(void *stop, long long a, long long b, long long c, long long d) {
  (void)a, (void)b, (void)c, (void)d;
  return stop && softgrpo_web_stop_raised(stop);
}

void softgrpo_web_request(
    void *connection, const char *url, const char *const *headers, const char *body, size_t size, long milliseconds,
    size_t limit, int direct, const softgrpo_web_stop *stop, softgrpo_web_reply *reply) {
  memset(reply, 0, sizeof *reply);
  struct response response = {reply, limit};
  void *list = NULL;
  // Connections survive a reset.
  curl.reset(connection);
  for (; *headers; headers++) {
    void *longer = curl.append(list, *headers);
    if (longer) list = longer;
  }
  char error[error_buffer_size] = "";
  curl.set(connection, option_url, url);
  curl.set(connection, option_protocols, (long)protocol_http_https);
  curl.set(connection, option_no_signal, 1L);
  curl.set(connection, option_timeout_ms, milliseconds);
  curl.set(connection, option_connect_timeout_ms, milliseconds);
  curl.set(connection, option_error_buffer, error);
  curl.set(connection, option_user_agent, "softgrpo");
  curl.set(connection, option_header, list);
  if (direct) curl.set(connection, option_proxy, "");
  if (body) {
    curl.set(connection, option_post_field_size, (long)size);
    curl.set(connection, option_post_fields, body);
  }
  curl.set(connection, option_write_function, take);
  curl.set(connection, option_write_data, &response);
  curl.set(connection, option_transfer_function, is_stopped);
  curl.set(connection, option_transfer_data, (void *)stop);
  curl.set(connection, option_no_progress, 0L);
  int code = curl.perform(connection);
  if (code == 0) {
    curl.info(connection, info_response_code, &reply->status);
  } else {
    reply->code = code;
    snprintf(reply->error, sizeof reply->error, "%s", error[0] ? error : curl.text(code));
  }
  // Nothing of this frame may be used by a later request.
  curl.set(connection, option_error_buffer, NULL);
  curl.set(connection, option_header, NULL);
  curl.free_list(list);
}

void softgrpo_web_reply_free(softgrpo_web_reply *reply) {
  free(reply->body);
  reply->body = NULL;
}
