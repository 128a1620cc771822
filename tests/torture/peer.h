/* A peer for all of the torture's jobs: JSON, the Kubernetes API and vim25 as far as they ask. */
#pragma once

#include "engine/loop.h"
#include "engine/server.h"

struct peer {
    struct lift_loop *loop; /* borrowed */
    struct lift_server *server, *tls_server;
    uint16_t port, tls_port;
    struct lift_request *unanswered[8]; /* what /never asked */
    int waiting;
    char kubeconfig[64], ca_file[64];
};

void peer_open(struct peer *peer, struct lift_loop *loop);
void peer_close(struct peer *peer);
void peer_remove(const struct peer *peer); /* only its files, when its process is gone */
void peer_settle(struct peer *peer);       /* let go what is unanswered */
