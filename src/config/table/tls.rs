//! The rows of a listener's `tls`. Order here is order in the man page.

use super::{NONE, key};
use crate::config::key::Default::{Absent, Required};
use crate::config::key::Reload::Workers;
use crate::config::key::{Row, Type};
use crate::config::types::ClientAuth;
use crate::config::words::words_of;

pub(super) static ROWS: &[Row] = &[
    key(
        "service.listen.tls",
        Type::Table,
        NONE,
        Workers,
        "Connections speak TLS, 1.2 or 1.3; sessions are resumed by tickets, with whichever worker, after reloads and upgrades too. The files are read whenever the config is, with masterd's rights, and workers need none: `masterd reload` is what makes a renewed certificate known.",
    ),
    key(
        "service.listen.tls.certificate",
        Type::Path,
        Required { example: "\"tls/fullchain.pem\"" },
        Workers,
        "A PEM file with the server's certificate, followed by those that lead to an authority. It is shown to clients that name no host, or one that `tls.sni` does not know.",
    ),
    key(
        "service.listen.tls.key",
        Type::Path,
        Required { example: "\"tls/privkey.pem\"" },
        Workers,
        "A PEM file with the certificate's private key (RSA, ECDSA with P-256 or P-384, or Ed25519), not encrypted. Nobody but masterd need be able to read it.",
    ),
    key(
        "service.listen.tls.sni",
        Type::Certificates,
        Absent {
            means: "none",
            example: "[{ certificate = \"tls/b.pem\", key = \"tls/b.key\", hosts = [\"b.example\"] }]",
        },
        Workers,
        "Other certificates, for clients that ask for certain hosts (SNI). A name itself goes before one with \"*.\".",
    ),
    key(
        "service.listen.tls.sni.certificate",
        Type::Path,
        Required { example: "\"tls/b.pem\"" },
        Workers,
        "As `tls.certificate`, for these hosts.",
    ),
    key(
        "service.listen.tls.sni.key",
        Type::Path,
        Required { example: "\"tls/b.key\"" },
        Workers,
        "As `tls.key`, for these hosts.",
    ),
    key(
        "service.listen.tls.sni.hosts",
        Type::Hosts,
        Required { example: "[\"b.example\", \"*.b.example\"]" },
        Workers,
        "The hosts that get this certificate. \"*.b.example\" is every name with one label more than b.example, and not b.example itself.",
    ),
    key(
        "service.listen.tls.client_ca",
        Type::Path,
        Absent { means: "clients are not asked for a certificate", example: "\"tls/clients.pem\"" },
        Workers,
        "A PEM file with the authorities whose certificates clients may show. Revocation lists are not looked at.",
    ),
    key(
        "service.listen.tls.client_auth",
        Type::Word(words_of::<ClientAuth>),
        Absent { means: "\"required\" where there is a `client_ca`", example: "\"required\"" },
        Workers,
        "Whether a client must show a certificate, or may. A bad one ends the connection either way.",
    ),
];
