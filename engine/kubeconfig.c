#include "kubeconfig.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "base64.h"
#include "buf.h"
#include "file.h"

#define FILE_MAX ((size_t)1 << 20)

/* One file under reading. */
struct reader {
    const char *path;
    yaml_document_t document;
    struct lift_error *err;
};

/* A mapping inside it, and what to call it: "users[admin].user". */
struct section {
    yaml_node_t *node; /* NULL: absent, has no fields */
    char name[192];
};

static bool refuse_at(struct reader *r, const yaml_node_t *node, const char *section,
                      const char *field, const char *why)
{
    return lift_fail(r->err, LIFT_CONFIG, "%s:%zu: %s%s%s: %s", r->path, node->start_mark.line + 1,
                     section, *section ? "." : "", field, why);
}

static bool is_null(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    const char *text = (const char *)node->data.scalar.value;
    return *text == '\0' || strcmp(text, "~") == 0 || strcasecmp(text, "null") == 0;
}

/* The value of a field; NULL when it is absent or null. */
static yaml_node_t *field_of(struct reader *r, const struct section *s, const char *field)
{
    if (!s->node)
        return NULL;
    yaml_node_pair_t *pair = s->node->data.mapping.pairs.start;
    for (; pair < s->node->data.mapping.pairs.top; pair++) {
        yaml_node_t *key = yaml_document_get_node(&r->document, pair->key);
        if (key->type != YAML_SCALAR_NODE || strcmp((char *)key->data.scalar.value, field) != 0)
            continue;
        yaml_node_t *value = yaml_document_get_node(&r->document, pair->value);
        return is_null(value) ? NULL : value;
    }
    return NULL;
}

/* Text of a field, borrowed; *out stays NULL when it is absent or empty. */
static bool text_of(struct reader *r, const struct section *s, const char *field, const char **out)
{
    yaml_node_t *node = field_of(r, s, field);
    if (!node)
        return true;
    if (node->type != YAML_SCALAR_NODE)
        return refuse_at(r, node, s->name, field, "must be text");
    const char *text = (const char *)node->data.scalar.value;
    if (strlen(text) != node->data.scalar.length)
        return refuse_at(r, node, s->name, field, "holds a zero byte");
    *out = *text ? text : NULL;
    return true;
}

static bool flag_of(struct reader *r, const struct section *s, const char *field, bool *out)
{
    const char *text = NULL;
    if (!text_of(r, s, field, &text))
        return false;
    if (text && strcasecmp(text, "true") != 0 && strcasecmp(text, "false") != 0)
        return refuse_at(r, field_of(r, s, field), s->name, field, "must be true or false");
    *out = text && strcasecmp(text, "true") == 0;
    return true;
}

/* Appends the names of a list's entries, for a hint. */
static void list_names(struct reader *r, const yaml_node_t *list, char *out, size_t size)
{
    size_t used = 0;
    yaml_node_item_t *item = list->data.sequence.items.start;
    for (; item < list->data.sequence.items.top; item++) {
        struct section entry = {.node = yaml_document_get_node(&r->document, *item)};
        if (entry.node->type != YAML_MAPPING_NODE)
            continue;
        yaml_node_t *name = field_of(r, &entry, "name");
        if (!name || name->type != YAML_SCALAR_NODE || used + 4 >= size)
            continue;
        int written = snprintf(out + used, size - used, "%s%s", used ? ", " : "",
                               (const char *)name->data.scalar.value);
        used += written > 0 ? (size_t)written : 0;
    }
}

static yaml_node_t *entry_named(struct reader *r, const yaml_node_t *list, const char *name)
{
    yaml_node_item_t *item = list->data.sequence.items.start;
    for (; item < list->data.sequence.items.top; item++) {
        struct section entry = {.node = yaml_document_get_node(&r->document, *item)};
        yaml_node_t *found =
            entry.node->type == YAML_MAPPING_NODE ? field_of(r, &entry, "name") : NULL;
        if (found && found->type == YAML_SCALAR_NODE &&
            strcmp((char *)found->data.scalar.value, name) == 0)
            return entry.node;
    }
    return NULL;
}

/*
 * The mapping `inner` of the entry of that name in the list `lists`: find(r, …, "clusters",
 * "cluster", "prod", &out).  `from` is the node that named it, for the line of the complaint.
 */
static bool find(struct reader *r, const struct section *root, const char *lists, const char *inner,
                 const char *name, const yaml_node_t *from, struct section *out)
{
    yaml_node_t *list = field_of(r, root, lists);
    if (list && list->type != YAML_SEQUENCE_NODE)
        return refuse_at(r, list, "", lists, "must be a list");
    struct section entry = {.node = list ? entry_named(r, list, name) : NULL};
    if (!entry.node) {
        char names[200] = "";
        if (list)
            list_names(r, list, names, sizeof names);
        lift_fail(r->err, LIFT_CONFIG, "%s:%zu: %s: there is no %s named '%s'", r->path,
                  from->start_mark.line + 1, lists, inner, name);
        return lift_hint(r->err, names[0] ? "the file has: %s" : "the file has none%s", names);
    }
    snprintf(out->name, sizeof out->name, "%s[%s].%s", lists, name, inner);
    out->node = field_of(r, &entry, inner);
    if (out->node && out->node->type != YAML_MAPPING_NODE)
        return refuse_at(r, out->node, "", out->name, "must be a mapping");
    return true;
}

/* A path in the file counts from the file's folder. */
static char *resolve(const struct reader *r, const char *path)
{
    const char *slash = strrchr(r->path, '/');
    if (path[0] == '/' || !slash)
        return lift_strdup(path);
    return lift_asprintf("%.*s/%s", (int)(slash - r->path), r->path, path);
}

static bool read_pem_file(struct reader *r, const struct section *s, const char *field,
                          const char *path, struct lift_buf *pem)
{
    struct lift_error why = {0};
    char *resolved = resolve(r, path);
    bool ok = lift_file_read(resolved, pem, &why) ||
              refuse_at(r, field_of(r, s, field), s->name, field, why.text);
    lift_free(resolved);
    return ok;
}

/* PEM text from `field`-data (base64) or from the file that `field` names; the data wins, as with
 * kubectl. */
static bool pem_of(struct reader *r, const struct section *s, const char *field,
                   struct lift_buf *pem)
{
    char data_field[64];
    snprintf(data_field, sizeof data_field, "%s-data", field);
    const char *data = NULL, *path = NULL;
    if (!text_of(r, s, data_field, &data) || !text_of(r, s, field, &path))
        return false;
    if (!data && !path)
        return true;
    const char *source = data ? data_field : field;
    struct lift_error why = {0};
    if (data && !lift_base64_decode(pem, data, strlen(data), &why))
        return refuse_at(r, field_of(r, s, source), s->name, source, why.text);
    if (!data && !read_pem_file(r, s, field, path, pem))
        return false;
    if (pem->length != strlen(pem->data) || !strstr(pem->data, "-----BEGIN "))
        return refuse_at(r, field_of(r, s, source), s->name, source, "is not PEM");
    return true;
}

static bool pem_text(struct reader *r, const struct section *s, const char *field, char **out)
{
    struct lift_buf pem = {.max = FILE_MAX};
    bool ok = pem_of(r, s, field, &pem);
    if (ok)
        *out = lift_strdup(pem.data); /* NULL when the field is absent */
    lift_buf_free(&pem);
    return ok;
}

static bool pem_secret(struct reader *r, const struct section *s, const char *field,
                       struct lift_secret **out)
{
    struct lift_buf pem = {.max = FILE_MAX};
    bool ok = pem_of(r, s, field, &pem);
    if (ok && pem.data)
        *out = lift_secret_new(pem.data, pem.length);
    lift_buf_wipe(&pem);
    return ok;
}

/* What would be wrong to leave out in silence. */
static bool refuse_fields(struct reader *r, const struct section *s, const char *const (*fields)[2])
{
    for (; (*fields)[0]; fields++) {
        yaml_node_t *node = field_of(r, s, (*fields)[0]);
        if (!node || (node->type == YAML_SCALAR_NODE && node->data.scalar.length == 0))
            continue;
        refuse_at(r, node, s->name, (*fields)[0], "is not supported");
        return lift_hint(r->err, "%s", (*fields)[1]);
    }
    return true;
}

static bool server_of(struct reader *r, const struct section *s, char **out)
{
    const char *url = NULL;
    if (!text_of(r, s, "server", &url))
        return false;
    if (!url)
        return lift_fail(r->err, LIFT_CONFIG, "%s: %s.server: is missing", r->path, s->name);
    if (strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0)
        return refuse_at(r, field_of(r, s, "server"), s->name, "server",
                         "must begin with https:// or http://");
    size_t length = strlen(url);
    while (url[length - 1] == '/')
        length--;
    *out = lift_strndup(url, length);
    return true;
}

static bool read_cluster(struct reader *r, const struct section *s, struct lift_kubeconfig *out)
{
    static const char *const unsupported[][2] = {
        {"proxy-url", "reach the API server directly, or through a port-forward"},
        {"tls-server-name", "give the server by a name that its certificate carries"},
        {NULL, NULL}};
    if (!refuse_fields(r, s, unsupported) || !server_of(r, s, &out->server) ||
        !flag_of(r, s, "insecure-skip-tls-verify", &out->insecure) ||
        !pem_text(r, s, "certificate-authority", &out->ca_pem))
        return false;
    if (out->insecure && out->ca_pem)
        return refuse_at(r, s->node, s->name, "insecure-skip-tls-verify",
                         "contradicts the certificate authority beside it");
    return true;
}

static bool read_token(struct reader *r, const struct section *s, struct lift_kubeconfig *out)
{
    const char *token = NULL, *file = NULL;
    if (!text_of(r, s, "token", &token) || !text_of(r, s, "tokenFile", &file))
        return false;
    if (token)
        out->token = lift_secret_new(token, strlen(token));
    if (file)
        out->token_file = resolve(r, file);
    return true;
}

static bool read_login(struct reader *r, const struct section *s, struct lift_kubeconfig *out)
{
    const char *username = NULL, *password = NULL;
    if (!text_of(r, s, "username", &username) || !text_of(r, s, "password", &password))
        return false;
    if (username) {
        out->username = lift_strdup(username);
        out->password = lift_secret_new(password ? password : "", password ? strlen(password) : 0);
    }
    return true;
}

static bool read_user(struct reader *r, const struct section *s, struct lift_kubeconfig *out)
{
    static const char plugin[] =
        "credential plugins are not run; use a token: kubectl create token ACCOUNT, or a service "
        "account's Secret, put into the kubeconfig as `token`";
    static const char other[] = "give the credentials of the account itself";
    static const char *const unsupported[][2] = {
        {"exec", plugin},     {"auth-provider", plugin}, {"as", other}, {"as-uid", other},
        {"as-groups", other}, {"as-user-extra", other},  {NULL, NULL}};
    if (!refuse_fields(r, s, unsupported) || !read_token(r, s, out) || !read_login(r, s, out) ||
        !pem_text(r, s, "client-certificate", &out->client_cert_pem) ||
        !pem_secret(r, s, "client-key", &out->client_key_pem))
        return false;
    if (!out->client_cert_pem != !out->client_key_pem)
        return refuse_at(r, s->node, s->name,
                         out->client_cert_pem ? "client-key" : "client-certificate", "is missing");
    return true;
}

static bool pick_context(struct reader *r, const struct section *root, const char **context,
                         const yaml_node_t **from)
{
    *from = root->node;
    if (*context)
        return true;
    if (!text_of(r, root, "current-context", context))
        return false;
    if (!*context) {
        lift_fail(r->err, LIFT_CONFIG, "%s: current-context: is not set", r->path);
        return lift_hint(r->err, "name one of the file's contexts: kubectl config get-contexts");
    }
    *from = field_of(r, root, "current-context");
    return true;
}

static bool read_context(struct reader *r, const struct section *root, const char *context,
                         struct lift_kubeconfig *out)
{
    const yaml_node_t *from = NULL;
    struct section chosen = {0}, cluster = {0}, user = {0};
    const char *cluster_name = NULL, *user_name = NULL, *namespace = NULL;
    if (!pick_context(r, root, &context, &from) ||
        !find(r, root, "contexts", "context", context, from, &chosen) ||
        !text_of(r, &chosen, "cluster", &cluster_name) ||
        !text_of(r, &chosen, "user", &user_name) || !text_of(r, &chosen, "namespace", &namespace))
        return false;
    if (!cluster_name)
        return refuse_at(r, chosen.node ? chosen.node : from, chosen.name, "cluster", "is missing");
    out->namespace = lift_strdup(namespace ? namespace : "default");
    if (!find(r, root, "clusters", "cluster", cluster_name, chosen.node, &cluster) ||
        !read_cluster(r, &cluster, out))
        return false;
    return !user_name || (find(r, root, "users", "user", user_name, chosen.node, &user) &&
                          read_user(r, &user, out));
}

/* Tokens and keys stood in the nodes. */
static void wipe_document(yaml_document_t *document)
{
    for (yaml_node_t *n = document->nodes.start; n < document->nodes.top; n++)
        if (n->type == YAML_SCALAR_NODE)
            explicit_bzero(n->data.scalar.value, n->data.scalar.length);
    yaml_document_delete(document);
}

static bool parse(struct reader *r, const struct lift_buf *text)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return lift_fail(r->err, LIFT_FAILED, "%s: out of memory", r->path);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text->data, text->length);
    bool ok = yaml_parser_load(&parser, &r->document);
    if (!ok)
        lift_fail(r->err, LIFT_CONFIG, "%s:%zu: not YAML: %s", r->path,
                  parser.problem_mark.line + 1, parser.problem ? parser.problem : "out of memory");
    yaml_parser_delete(&parser);
    return ok;
}

static bool read_document(struct reader *r, const char *context, struct lift_kubeconfig *out)
{
    struct section root = {.node = yaml_document_get_root_node(&r->document)};
    if (!root.node || root.node->type != YAML_MAPPING_NODE)
        return lift_fail(r->err, LIFT_CONFIG, "%s: is no kubeconfig: it holds no mapping", r->path);
    return read_context(r, &root, context, out);
}

static bool open_failed(const char *path, struct lift_error *err)
{
    bool missing = err->code == LIFT_NOT_FOUND;
    err->code = LIFT_CONFIG;
    if (missing && strchr(path, ':'))
        return lift_hint(err, "a list of files is not merged: name one, or make one with "
                              "`kubectl config view --flatten`");
    return false;
}

bool lift_kubeconfig_load(struct lift_kubeconfig *out, const char *path, const char *context,
                          struct lift_error *err)
{
    *out = (struct lift_kubeconfig){0};
    struct reader r = {.path = path, .err = err};
    struct lift_buf text = {.max = FILE_MAX};
    bool ok = lift_file_read(path, &text, err) || open_failed(path, err);
    if (ok) {
        ok = parse(&r, &text) && read_document(&r, context, out);
        wipe_document(&r.document); /* zeroed, so harmless, when it was not parsed */
    }
    lift_buf_wipe(&text);
    if (!ok)
        lift_kubeconfig_fini(out);
    return ok;
}

void lift_kubeconfig_fini(struct lift_kubeconfig *config)
{
    lift_free(config->server);
    lift_free(config->namespace);
    lift_free(config->ca_pem);
    lift_free(config->token_file);
    lift_free(config->client_cert_pem);
    lift_free(config->username);
    lift_secret_free(config->token);
    lift_secret_free(config->client_key_pem);
    lift_secret_free(config->password);
    *config = (struct lift_kubeconfig){0};
}
