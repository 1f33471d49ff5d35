module attest-verify

go 1.27

require filippo.io/edwards25519 v1.2.0
