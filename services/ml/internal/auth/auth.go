// Package auth lets in who holds one of the server's API keys.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"slices"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// Keys are the API keys of other CloudOptim servers, by their hashes.
type Keys struct{ hashes [][sha256.Size]byte }

// New set of keys. Several may be valid at once, so that they can be changed
// without a pause.
func New(keys []string) *Keys {
	k := &Keys{}
	for _, key := range keys {
		if key != "" {
			k.hashes = append(k.hashes, sha256.Sum256([]byte(key)))
		}
	}
	return k
}

// Authorize a call: anyone where the contract says so, else a server with a key
// where the contract lets servers in, else no one.
func (k *Keys) Authorize(ctx context.Context, method string, policy *accessv1.Policy, bearer string) (context.Context, error) {
	callers := policy.GetCallers()
	if slices.Contains(callers, accessv1.Caller_CALLER_ANYONE) {
		return ctx, nil
	}
	if !k.known(bearer) {
		return ctx, fault.New(faultv1.Reason_REASON_UNAUTHENTICATED, "Invalid API key")
	}
	if !slices.Contains(callers, accessv1.Caller_CALLER_SERVICE) {
		return ctx, fault.New(faultv1.Reason_REASON_PERMISSION_DENIED, "Not allowed to call %s", method)
	}
	return ctx, nil
}

// known compares with every key in constant time: neither length nor position of
// a match shows.
func (k *Keys) known(bearer string) bool {
	hash := sha256.Sum256([]byte(bearer))
	found := 0
	for _, h := range k.hashes {
		found |= subtle.ConstantTimeCompare(hash[:], h[:])
	}
	return bearer != "" && found == 1
}
