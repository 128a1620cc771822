#include "url.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

static CURLUcode checked(CURLUcode rc)
{
    if (rc == CURLUE_OUT_OF_MEMORY)
        lift_no_memory();
    return rc;
}

/* curl_url_get() with our memory; "" when the part is missing. */
static char *part_of(CURLU *url, CURLUPart what)
{
    char *part = NULL;
    checked(curl_url_get(url, what, &part, what == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0));
    char *copy = lift_strdup(part ? part : "");
    curl_free(part);
    return copy;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text > 0x7f)
            return false;
    return true;
}

/* libcurl takes "http:/host" too, which nobody means and where others look for "://". */
static bool has_authority(const char *text, const char *scheme)
{
    size_t length = strlen(scheme);
    return strncasecmp(text, scheme, length) == 0 && strncmp(text + length, "://", 3) == 0;
}

bool lift_url_parse(const char *text, struct lift_url *out, struct lift_error *err)
{
    CURLU *url = lift_demand(curl_url());
    CURLUcode rc = checked(curl_url_set(url, CURLUPART_URL, text ? text : "", CURLU_DISALLOW_USER));
    char *scheme = part_of(url, CURLUPART_SCHEME), *port = part_of(url, CURLUPART_PORT);
    bool ok = false;
    out->host = part_of(url, CURLUPART_HOST);
    out->port = (uint16_t)strtoul(port, NULL, 10);
    out->origin = lift_asprintf("%s://%s:%s", scheme, out->host, port);
    if (rc != CURLUE_OK)
        lift_fail(err, LIFT_CONFIG, "not a URL to send to: %s", curl_url_strerror(rc));
    else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
        lift_fail(err, LIFT_CONFIG, "a URL starts with https:// or http://, not %.20s", scheme);
    else if (!has_authority(text, scheme))
        lift_fail(err, LIFT_CONFIG, "a URL starts with %.20s://", scheme);
    else if (!is_ascii(out->host))
        lift_fail(err, LIFT_CONFIG, "the host of a URL is plain ASCII (xn--… where needed)");
    else
        ok = true;
    lift_free(scheme);
    lift_free(port);
    curl_url_cleanup(url);
    return ok;
}

void lift_url_fini(struct lift_url *url)
{
    lift_free(url->origin);
    lift_free(url->host);
    *url = (struct lift_url){0};
}
