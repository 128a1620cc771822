#include <stdio.h>
#include <string.h>

#include "ssh_inner.h"

#define RSA_2048_LENGTH 372 /* of its public half in base64 */
#define KEY_HINT "give the private key as ssh-keygen writes it: PEM, or OPENSSH PRIVATE KEY"

/* ---- our key ---- */

/* libssh asks for a passphrase only when the key needs one. */
static int on_passphrase(const char *prompt, char *out, size_t size, int echo, int verify,
                         void *asked)
{
    (void)prompt, (void)out, (void)size, (void)echo, (void)verify;
    *(bool *)asked = true;
    return -1;
}

static bool read_public(struct lift_ssh *ssh)
{
    ssh_key public = NULL;
    char *base64 = NULL;
    if (ssh_pki_export_privkey_to_pubkey(ssh->key, &public) == SSH_OK &&
        ssh_pki_export_pubkey_base64(public, &base64) == SSH_OK)
        ssh->public_key =
            lift_asprintf("%s %s", ssh_key_type_to_char(ssh_key_type(public)), base64);
    ssh_string_free_char(base64);
    ssh_key_free(public);
    return ssh->public_key != NULL;
}

/* Hosts let nobody in with such a one, whatever lines they have. */
static bool is_strong(const struct lift_ssh *ssh, struct lift_error *err)
{
    enum ssh_keytypes_e type = ssh_key_type(ssh->key);
    bool is_short =
        type == SSH_KEYTYPE_RSA && strlen(strchr(ssh->public_key, ' ') + 1) < RSA_2048_LENGTH;
    if (type != SSH_KEYTYPE_DSS && !is_short)
        return true;
    lift_fail(err, LIFT_CONFIG, "the SSH key is %s",
              is_short ? "RSA of less than 2048 bits" : "DSA, which is out of use");
    return lift_hint(err, "make another: ssh-keygen -t ed25519, or -t rsa -b 3072");
}

bool lift_ssh__read_key(struct lift_ssh *ssh, const struct lift_secret *key, struct lift_error *err)
{
    bool asked = false;
    const char *text = lift_secret_bytes(key);
    int got = ssh_pki_import_privkey_base64(text, NULL, on_passphrase, &asked, &ssh->key);
    if (got == SSH_OK && read_public(ssh))
        return is_strong(ssh, err);
    if (asked || strstr(text, "ENCRYPTED")) {
        lift_fail(err, LIFT_CONFIG, "the SSH key is protected by a passphrase");
        return lift_hint(err, "take it off (ssh-keygen -p -N '' -f KEY), or give another key");
    }
    lift_fail(err, LIFT_CONFIG, "the SSH key is no private key that can be read");
    return lift_hint(err, KEY_HINT);
}

/* ---- the host's ---- */

static bool read_fingerprint(struct lift_ssh *ssh)
{
    ssh_key key = NULL;
    unsigned char *hash = NULL;
    size_t length = 0;
    char *text = NULL;
    if (ssh_get_server_publickey(ssh->session, &key) == SSH_OK &&
        ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &length) == SSH_OK)
        text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, length);
    snprintf(ssh->fingerprint, sizeof ssh->fingerprint, "%s", text ? text : "");
    ssh_string_free_char(text);
    ssh_clean_pubkey_hash(&hash);
    ssh_key_free(key);
    return ssh->fingerprint[0] != '\0';
}

static bool is_listed(const struct lift_ssh *ssh)
{
    for (char **one = ssh->fingerprints; *one; one++)
        if (strcmp(*one, ssh->fingerprint) == 0)
            return true;
    return false;
}

static bool refuse(struct lift_ssh *ssh, enum lift_ssh_refusal why, const char *text,
                   struct lift_error *err)
{
    ssh->refusal = why;
    return lift_fail(err, LIFT_DENIED, text, ssh->host, ssh->fingerprint);
}

bool lift_ssh__trusts(struct lift_ssh *ssh, struct lift_error *err)
{
    if (!read_fingerprint(ssh))
        return lift_fail(err, LIFT_PROTOCOL, "%s shows no host key: %s", ssh->host,
                         ssh_get_error(ssh->session));
    if (is_listed(ssh))
        return true;
    switch (ssh->known_hosts ? ssh_session_is_known_server(ssh->session)
                             : SSH_KNOWN_HOSTS_UNKNOWN) {
    case SSH_KNOWN_HOSTS_OK:
        return true;
    case SSH_KNOWN_HOSTS_CHANGED:
    case SSH_KNOWN_HOSTS_OTHER:
        return refuse(
            ssh, LIFT_SSH_HOST_CHANGED,
            "the SSH host key of %s has changed: it shows %s, and known_hosts has another", err);
    case SSH_KNOWN_HOSTS_ERROR:
        return lift_fail(err, LIFT_CONFIG, "%s: %s", ssh->known_hosts, ssh_get_error(ssh->session));
    default:
        return refuse(ssh, LIFT_SSH_HOST_UNKNOWN,
                      "the SSH host key of %s is not known: it shows %s", err);
    }
}
