package listen

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.opentelemetry.io/otel/attribute"
)

// What becomes of messages.
const (
	deleted = "deleted"
	buried  = "dead_lettered"
	left    = "left"
)

// fate is what is done with a message, and why.
type fate struct {
	outcome, reason string
	// pause is until a message that is left may be seen again.
	pause time.Duration
	level slog.Level
}

// decide says what becomes of a letter.
func (m *mailbox) decide(l *letter) fate {
	verdict := l.verdict()
	switch {
	case l.dropped != nil && m.queue.Shared: // nobody can tell whose it is
		return fate{left, l.dropped.Reason, m.shared(l), slog.LevelDebug}
	case l.dropped != nil && l.dropped.Poison:
		return fate{buried, l.dropped.Reason, 0, slog.LevelWarn}
	case l.dropped != nil:
		return fate{deleted, l.dropped.Reason, 0, slog.LevelDebug}
	case verdict == 0:
		return fate{left, "take_failed", growing(5*m.pace.backoff, l.receives, 60*m.pace.backoff), slog.LevelWarn}
	case verdict == Joining:
		// Whoever dead-letters after five receives has then waited for a minute.
		return fate{left, verdict.String(), growing(m.pace.joining, l.receives, 8*m.pace.joining), slog.LevelInfo}
	case verdict == Foreign && m.queue.Shared:
		return fate{left, verdict.String(), m.shared(l), slog.LevelDebug}
	case verdict == Foreign:
		return fate{deleted, verdict.String(), 0, slog.LevelDebug}
	default:
		return fate{deleted, verdict.String(), 0, slog.LevelInfo}
	}
}

// shared is how long a message that is not ours keeps out of its owner's sight:
// not long while it is young, longer when nobody has come for it.
func (m *mailbox) shared(l *letter) time.Duration {
	const shortest, longest = 2, 900 // in backoffs, which are seconds but in tests
	if l.sent.IsZero() {
		return growing(shortest*m.pace.backoff, l.receives, longest*m.pace.backoff)
	}
	return min(max(time.Since(l.sent)/2, shortest*m.pace.backoff), longest*m.pace.backoff)
}

// growing doubles with each receive.
func growing(first time.Duration, receives int, most time.Duration) time.Duration {
	return min(first<<min(receives-1, 10), most)
}

// settleWithin bounds what is said to SQS after a batch.
const settleWithin = 8 * time.Second

// settle deletes what is done and gives back what is not. It is done even when
// ctx has ended: what was committed would come again otherwise.
func (m *mailbox) settle(ctx context.Context, letters []*letter) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	fates := make([]fate, len(letters))
	receipts := map[string]bool{}
	var done []types.DeleteMessageBatchRequestEntry
	var back []types.ChangeMessageVisibilityBatchRequestEntry
	for i, l := range letters {
		fates[i] = m.decide(l)
		if fates[i].outcome == buried {
			fates[i] = m.bury(ctx, l, fates[i])
		}
		receipt := aws.ToString(l.message.ReceiptHandle)
		if receipts[receipt] { // the same message twice in one batch
			continue
		}
		receipts[receipt] = true
		if fates[i].outcome == left {
			back = append(back, types.ChangeMessageVisibilityBatchRequestEntry{
				Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &receipt, VisibilityTimeout: seconds(jittered(fates[i].pause)),
			})
			continue
		}
		done = append(done, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &receipt})
	}
	for i := range m.remove(ctx, done) {
		fates[i].outcome, fates[i].reason, fates[i].level = left, "delete_failed", slog.LevelWarn
	}
	m.setVisibility(ctx, back)
	for i, l := range letters {
		m.tell(l, fates[i])
	}
}

// jittered adds up to a tenth, so that what failed together does not return together.
func jittered(d time.Duration) time.Duration { return d + rand.N(d/10+1) }

// tell counts and logs what became of a letter.
func (m *mailbox) tell(l *letter, f fate) {
	counted(l.ctx, l.sent, f.outcome, f.reason)
	l.span.SetAttributes(attribute.String("outcome", f.outcome), attribute.String("reason", f.reason))
	l.span.End()
	m.log.Log(l.ctx, f.level, "a message is settled", "outcome", f.outcome, "reason", f.reason,
		"message", l.id(), "receives", l.receives, "instances", l.instances())
}

// remove deletes messages and returns the indices of those that could not be.
// They come again, with a receipt that is not stale, and are known by then.
func (m *mailbox) remove(ctx context.Context, entries []types.DeleteMessageBatchRequestEntry) map[int]bool {
	failed := map[int]bool{}
	if len(entries) == 0 {
		return failed
	}
	out, err := m.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &m.queue.URL, Entries: entries})
	if err != nil {
		m.log.WarnContext(ctx, "deleting messages", "messages", len(entries), "error", err)
		for _, e := range entries {
			mark(failed, e.Id)
		}
		return failed
	}
	for _, f := range out.Failed {
		mark(failed, f.Id)
	}
	return failed
}

func mark(set map[int]bool, id *string) {
	if i, err := strconv.Atoi(aws.ToString(id)); err == nil {
		set[i] = true
	}
}

// setVisibility says when messages may be seen again. Where that fails they are
// when their time is over, which is later and no harm.
func (m *mailbox) setVisibility(ctx context.Context, entries []types.ChangeMessageVisibilityBatchRequestEntry) {
	if len(entries) == 0 {
		return
	}
	out, err := m.client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &m.queue.URL, Entries: entries})
	switch {
	case err != nil && ctx.Err() == nil:
		m.log.WarnContext(ctx, "changing the visibility of messages", "messages", len(entries), "error", err)
	case err == nil && len(out.Failed) > 0:
		m.log.DebugContext(ctx, "changing the visibility of messages", "messages", len(out.Failed), "code", aws.ToString(out.Failed[0].Code))
	}
}

// giveBack makes messages visible at once.
func (m *mailbox) giveBack(ctx context.Context, messages []types.Message) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	m.setVisibility(ctx, sameFor(messages, 0))
}

func sameFor(messages []types.Message, d time.Duration) []types.ChangeMessageVisibilityBatchRequestEntry {
	entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(messages))
	for i, message := range messages {
		entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{
			Id: aws.String(strconv.Itoa(i)), ReceiptHandle: message.ReceiptHandle, VisibilityTimeout: seconds(d),
		}
	}
	return entries
}
