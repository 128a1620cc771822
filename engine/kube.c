#include "kube.h"

#include <string.h>

#include "file.h"
#include "kubeconfig.h"

#define SA_DIR "/var/run/secrets/kubernetes.io/serviceaccount"
#define TOKEN_MAX ((size_t)1 << 20)

struct lift_kube {
    struct lift_http_pool *pool;   /* borrowed */
    struct lift_kubeconfig config; /* config.token is the one in use */
    char *ca_file;          /* in-cluster: read at each new connection, since it is rotated */
    uint64_t token_read_ms; /* when token_file was last read */
    uint32_t token_max_age_ms;
    bool token_doubted; /* the API refused it */
};

static bool is_set(const char *text)
{
    return text && *text;
}

/* The token of config.token_file, blanks around it removed. */
static bool read_token(struct lift_kube *kube, struct lift_error *err)
{
    struct lift_buf text = {.max = TOKEN_MAX};
    const char *path = kube->config.token_file;
    bool ok = lift_file_read(path, &text, err);
    if (ok) {
        size_t skip = strspn(text.data, " \t\r\n"), length = strlen(text.data + skip);
        while (length > 0 && strchr(" \t\r\n", text.data[skip + length - 1]))
            length--;
        ok = length > 0 || lift_fail(err, LIFT_CONFIG, "%s: the token is empty", path);
        if (ok) {
            lift_secret_free(kube->config.token);
            kube->config.token = lift_secret_new(text.data + skip, length);
            kube->token_read_ms = lift_loop_now_ms(lift_http_pool_loop(kube->pool));
            kube->token_doubted = false;
        }
    }
    lift_buf_wipe(&text);
    return ok;
}

static void refresh_token(struct lift_kube *kube)
{
    uint64_t now = lift_loop_now_ms(lift_http_pool_loop(kube->pool));
    struct lift_error
        ignored; /* while the file is being replaced, the last token goes on serving */
    bool is_old = kube->token_doubted || now - kube->token_read_ms > kube->token_max_age_ms;
    if (kube->config.token_file && is_old)
        (void)!read_token(kube, &ignored);
}

static char *service_url(const char *host, const char *port)
{
    bool is_ipv6 = strchr(host, ':') && host[0] != '[';
    return lift_asprintf(is_ipv6 ? "https://[%s]:%s" : "https://%s:%s", host, port ? port : "443");
}

/* The namespace that the service account lives in; without the file it is "default". */
static char *own_namespace(const char *dir)
{
    struct lift_buf text = {.max = 256};
    struct lift_error ignored;
    char *path = lift_asprintf("%s/namespace", dir);
    bool found = lift_file_read(path, &text, &ignored);
    size_t length = found ? strcspn(text.data, " \t\r\n") : 0;
    char *name = length > 0 ? lift_strndup(text.data, length) : lift_strdup("default");
    lift_buf_free(&text);
    lift_free(path);
    return name;
}

static bool open_in_cluster(struct lift_kube *kube, const struct lift_kube_spec *spec,
                            struct lift_error *err)
{
    const char *dir = spec->sa_dir ? spec->sa_dir : SA_DIR;
    kube->config.server = service_url(spec->service_host, spec->service_port);
    kube->config.namespace = own_namespace(dir);
    kube->config.token_file = lift_asprintf("%s/token", dir);
    kube->ca_file = lift_asprintf("%s/ca.crt", dir);
    if (read_token(kube, err))
        return true;
    err->code = LIFT_CONFIG;
    return lift_hint(err, "the pod needs a service account whose token is mounted "
                          "(automountServiceAccountToken)");
}

/* kubectl's --master: the address alone, without credentials. */
static bool open_anonymous(struct lift_kube *kube, const struct lift_kube_spec *spec,
                           struct lift_error *err)
{
    if (!is_set(spec->master)) {
        lift_fail(err, LIFT_CONFIG, "no kubeconfig was given, and this is not inside a cluster");
        return lift_hint(err, "give --kubeconfig FILE, or set KUBECONFIG");
    }
    kube->config.namespace = lift_strdup("default");
    return true;
}

static bool override_server(struct lift_kube *kube, const char *master, struct lift_error *err)
{
    bool has_scheme = strstr(master, "://") != NULL;
    if (has_scheme && strncmp(master, "https://", 8) != 0 && strncmp(master, "http://", 7) != 0)
        return lift_fail(err, LIFT_CONFIG, "master: '%s' must begin with https:// or http://",
                         master);
    size_t length = strlen(master);
    while (length > 0 && master[length - 1] == '/')
        length--;
    lift_free(kube->config.server);
    kube->config.server =
        lift_asprintf("%s%.*s", has_scheme ? "" : "https://", (int)length, master);
    return true;
}

static bool open_from_file(struct lift_kube *kube, const struct lift_kube_spec *spec,
                           struct lift_error *err)
{
    if (!lift_kubeconfig_load(&kube->config, spec->kubeconfig, spec->context, err))
        return false;
    if (!kube->config.token_file || read_token(kube, err))
        return true;
    err->code = LIFT_CONFIG;
    return lift_hint(err, "tokenFile of the kubeconfig %s", spec->kubeconfig);
}

static bool open_kube(struct lift_kube *kube, const struct lift_kube_spec *spec,
                      struct lift_error *err)
{
    bool (*open)(struct lift_kube *, const struct lift_kube_spec *, struct lift_error *) =
        is_set(spec->kubeconfig)     ? open_from_file
        : is_set(spec->service_host) ? open_in_cluster
                                     : open_anonymous;
    return open(kube, spec, err) &&
           (!is_set(spec->master) || override_server(kube, spec->master, err));
}

struct lift_kube *lift_kube_new(struct lift_http_pool *pool, const struct lift_kube_spec *spec,
                                struct lift_error *err)
{
    struct lift_kube *kube = lift_calloc(1, sizeof *kube);
    kube->pool = pool;
    kube->token_max_age_ms = spec->token_max_age_ms ? spec->token_max_age_ms : 60000;
    if (open_kube(kube, spec, err))
        return kube;
    lift_kube_free(kube);
    return NULL;
}

void lift_kube_free(struct lift_kube *kube)
{
    if (!kube)
        return;
    lift_kubeconfig_fini(&kube->config);
    lift_free(kube->ca_file);
    lift_free(kube);
}

void lift_kube_doubt_token(struct lift_kube *kube)
{
    kube->token_doubted = true;
}

const char *lift_kube_server(const struct lift_kube *kube)
{
    return kube->config.server;
}

const char *lift_kube_namespace(const struct lift_kube *kube)
{
    return kube->config.namespace;
}

struct lift_http *lift_kube_start(struct lift_kube *kube, const struct lift_kube_request *request,
                                  lift_http_fn *done, void *payload, struct lift_error *err)
{
    const struct lift_kubeconfig *config = &kube->config;
    if (request->path[0] != '/') {
        lift_fail(err, LIFT_CONFIG, "'%s' is no path of the API: it begins with /", request->path);
        return NULL;
    }
    refresh_token(kube);
    struct lift_http_header headers[] = {
        {.name = "Accept", .value = "application/json"},
        {.name = "Content-Type",
         .value = request->content_type ? request->content_type : "application/json"},
    };
    char *url = lift_asprintf("%s%s", config->server, request->path);
    struct lift_http_spec spec = {
        .method = request->method,
        .url = url,
        .headers = headers,
        .header_count = request->body ? 2 : 1,
        .body = request->body,
        .body_length = request->body_length,
        .bearer = config->token,
        .username = config->token ? NULL : config->username, /* one Authorization, the better one */
        .password = config->token ? NULL : config->password,
        .trust = {.ca_pem = config->ca_pem,
                  .ca_file = kube->ca_file,
                  .insecure = config->insecure,
                  .client_cert_pem = config->client_cert_pem,
                  .client_key_pem = config->client_key_pem},
        .timeout_ms = request->timeout_ms ? request->timeout_ms : 30000,
        .effect = request->effect,
        .take = request->take,
    };
    struct lift_http *http = lift_http_start(kube->pool, &spec, done, payload, err);
    lift_free(url);
    return http;
}
