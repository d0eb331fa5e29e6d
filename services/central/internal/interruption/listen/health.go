package listen

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/aws/smithy-go"
)

// healthy is the state of a queue that answers.
const healthy = "healthy"

// longest is the last pause of a queue in trouble, in first ones.
const longest = 60

// health is how it stands with one queue. Each change of it is one log line.
type health struct {
	first time.Duration

	mu       sync.Mutex
	state    string
	failures int
}

// failed counts a failure and returns how long to pause.
func (h *health) failed(ctx context.Context, log *slog.Logger, err error) time.Duration {
	h.enter(ctx, log, trouble(err), err)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures++
	pause := min(h.first<<min(h.failures-1, 6), longest*h.first)
	return pause/2 + rand.N(pause/2+1)
}

// enter goes into a state.
func (h *health) enter(ctx context.Context, log *slog.Logger, state string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.state
	if state == healthy {
		h.failures = 0
	}
	if before == state {
		return
	}
	h.state = state
	if before != "" {
		queueStates.Add(ctx, -1, word("state", before))
	}
	queueStates.Add(ctx, 1, word("state", state))
	switch {
	case state != healthy:
		log.ErrorContext(ctx, "the queue cannot be read", "reason", state, "error", err)
	case before != "":
		log.InfoContext(ctx, "the queue can be read again", "was", before)
	}
}

// leave is the end of listening to the queue.
func (h *health) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	queueStates.Add(context.Background(), -1, word("state", h.state))
	h.state = ""
}

// troubles are AWS's codes, or parts of them, by what they come to.
var troubles = []struct{ part, reason string }{
	{"Throttl", "throttled"},
	{"OverLimit", "throttled"},
	{"RequestLimitExceeded", "throttled"},
	{"NonExistentQueue", "queue_gone"},
	{"QueueDoesNotExist", "queue_gone"},
	{"QueueDeletedRecently", "queue_gone"},
	{"AccessDenied", "access_denied"},
	{"Unauthorized", "access_denied"},
	{"InvalidClientTokenId", "access_denied"},
	{"InvalidAccessKeyId", "access_denied"},
	{"SignatureDoesNotMatch", "access_denied"},
	{"ExpiredToken", "access_denied"},
	{"KMS", "access_denied"},
	{"Kms", "access_denied"},
}

// trouble is a word for why AWS could not be asked.
func trouble(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return "unreachable"
	}
	for _, t := range troubles {
		if strings.Contains(api.ErrorCode(), t.part) {
			return t.reason
		}
	}
	return "other"
}
