package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// shown is how many characters of the random part the prefix tells: enough to
// know a key again, and 232 of its 256 bits stay secret.
const shown = 4

// NewSecret makes an API key of scope: the secret, which is shown once, its
// first characters, by which people know it again, and the hash that is stored.
func NewSecret(scope string) (secret, prefix string, hash []byte) {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails: the runtime ends the program instead
	kind := "co_" + scope + "_"
	secret = kind + base64.RawURLEncoding.EncodeToString(random)
	return secret, secret[:len(kind)+shown], Hash(secret)
}

// sessionScope is in the place of a key's scope in the secret of a session, so that each is looked for
// where it is kept. It is no scope: a key cannot have it.
const sessionScope = "session"

func ofSession(secret string) bool { return strings.HasPrefix(secret, "co_"+sessionScope+"_") }

// Hash is what is stored of a secret. It has 256 random bits, so neither salt
// nor a slow hash would add anything.
func Hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// SessionHash is what is stored of the secret of a session, nil if it is none.
func SessionHash(secret string) []byte {
	if !ofSession(secret) {
		return nil
	}
	return Hash(secret)
}
