package audit

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// Verify recomputes the chain over the whole log. knownHead, if not empty, is a hash in hex
// that was the head before: it must still be in the chain.
func Verify(ctx context.Context, s *store.Store, knownHead string) (*adminv1.VerifyAuditResponse, error) {
	known, err := hex.DecodeString(knownHead)
	if err != nil || knownHead != "" && len(known) != 32 {
		return nil, fault.Invalid("known_head", "must be 64 hexadecimal digits")
	}
	check := check{known: known}
	rest, err := s.WalkSeals(ctx, check.look)
	if err != nil {
		return nil, err
	}
	if check.problem == "" {
		check.end(rest)
	}
	return &adminv1.VerifyAuditResponse{
		Intact: check.problem == "", Entries: check.entries, Head: hex.EncodeToString(check.last.Hash), BrokenAt: check.brokenAt,
		Problem: check.problem, Unsealed: rest.Entries,
	}, nil
}

type check struct {
	known    []byte
	found    bool
	last     store.Seal
	entries  int64
	brokenAt int64
	problem  string
}

func (c *check) broken(at int64, format string, args ...any) bool {
	c.brokenAt, c.problem = at, fmt.Sprintf(format, args...)
	return false
}

// look compares one seal with what it must be; false: it is not that.
func (c *check) look(seal store.Seal, e *store.Entry) (bool, error) {
	want := c.last.Sequence + 1
	switch {
	case seal.Sequence != want:
		return c.broken(want, "the seal of position %d is missing, the next one is of %d", want, seal.Sequence), nil
	case seal.Version != version:
		return c.broken(want, "the seal has version %d, which this program does not know", seal.Version), nil
	case e == nil:
		return c.broken(want, "the entry was deleted, its seal is still there"), nil
	}
	right, err := next(c.last, e)
	if err != nil {
		return c.broken(want, "%s", err), nil
	}
	if !bytes.Equal(right.Hash, seal.Hash) {
		return c.broken(want, "the hash does not fit: this entry (%d: %s by %s at %s), its seal or the seal before it was changed",
			e.ID, e.Action, e.Actor, e.At.UTC().Format("2006-01-02 15:04:05.000000Z")), nil
	}
	c.last = seal
	c.entries++
	c.found = c.found || bytes.Equal(seal.Hash, c.known)
	return true, nil
}

// end looks at what the seals alone do not show.
func (c *check) end(rest store.Unsealed) {
	behind := c.last.Sequence + 1
	switch {
	case len(c.known) > 0 && !c.found:
		c.broken(behind, "the head that was noted before is not in the chain: its end was cut off, or it was made anew")
	case rest.Smuggled > 0:
		c.broken(behind, "entry %d was put in past the log: it will never be sealed", rest.Smuggled)
	case rest.Taken > 0:
		c.broken(behind, "entry %d was deleted before it was sealed", rest.Taken)
	}
}
