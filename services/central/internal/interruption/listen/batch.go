package listen

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
)

// handle takes a batch, from received to settled. When ctx ends before it was
// begun, it is given back for another replica.
func (m *mailbox) handle(ctx, work context.Context, messages []types.Message) {
	keep := m.hold(work, messages)
	if !acquire(ctx, m.slots) {
		keep()
		m.giveBack(work, messages)
		return
	}
	defer func() { <-m.slots }()
	letters := make([]*letter, len(messages))
	for i, message := range messages {
		letters[i] = m.read(work, message)
	}
	m.ask(ctx, work, letters)
	keep()
	m.settle(work, letters)
}

// hold keeps messages from becoming visible until it is called off.
func (m *mailbox) hold(ctx context.Context, messages []types.Message) (off func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sleep(ctx, m.pace.extend) {
			m.setVisibility(ctx, sameFor(messages, m.pace.visibility))
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// attempts is how often a batch is offered that fails where others do not.
const attempts = 3

// ask offers the letters until each has its verdict. After a first failure they
// are offered one by one, so that one of them does not hold up the others; while
// nothing at all can be taken, they are held.
func (m *mailbox) ask(ctx, work context.Context, letters []*letter) {
	var pending []*letter
	for _, l := range letters {
		if l.dropped == nil {
			pending = append(pending, l)
		}
	}
	begun := time.Now()
	for attempt := 1; len(pending) > 0; attempt++ {
		pending = m.offer(work, pending, attempt)
		if attempt >= attempts && (!m.gate.closed() || time.Since(begun) > m.pace.outage) {
			return
		}
		pause := min(100*time.Millisecond<<min(attempt, 10), 5*time.Second)
		if len(pending) > 0 && !sleep(ctx, pause/2+rand.N(pause/2)) {
			return
		}
	}
}

// offer returns the letters that were not taken.
func (m *mailbox) offer(ctx context.Context, letters []*letter, attempt int) (failed []*letter) {
	size := 1
	if attempt == 1 || m.gate.closed() {
		size = len(letters)
	}
	for at := 0; at < len(letters); at += size {
		group := letters[at:min(at+size, len(letters))]
		err := m.take(ctx, group)
		if err == nil {
			if m.gate.succeeded() {
				m.log.InfoContext(ctx, "messages can be taken again")
			}
			continue
		}
		failed = append(failed, group...)
		m.log.WarnContext(group[0].ctx, "taking messages", "messages", len(group), "attempt", attempt, "error", err)
		if attempt == 1 && m.gate.failed() {
			m.log.ErrorContext(ctx, "nothing can be taken: messages stay in their queues until it can")
		}
	}
	return failed
}

// take offers a group once.
func (m *mailbox) take(ctx context.Context, group []*letter) (err error) {
	var notices []notice.Notice
	var links []trace.Link
	for _, l := range group {
		notices = append(notices, l.notices...)
		links = append(links, trace.LinkFromContext(l.ctx))
	}
	parent, options := ctx, []trace.SpanStartOption{trace.WithLinks(links...)}
	if len(group) == 1 {
		parent, options = trace.ContextWithSpan(ctx, group[0].span), nil
	}
	ctx, span := tracer.Start(parent, "take interruptions", options...)
	defer func() {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}()
	ctx, cancel := context.WithTimeout(ctx, m.pace.take)
	defer cancel()
	verdicts, err := m.protected(ctx, notices)
	if err != nil {
		return err
	}
	for _, l := range group {
		l.verdicts, verdicts = verdicts[:len(l.notices):len(l.notices)], verdicts[len(l.notices):]
	}
	return nil
}

var errAnswer = errors.New("the intake's verdicts do not fit the notices")

// protected turns what an intake must not do into errors.
func (m *mailbox) protected(ctx context.Context, notices []notice.Notice) (verdicts []Verdict, err error) {
	defer func() {
		if r := recover(); r != nil {
			m.log.ErrorContext(ctx, "the intake panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			verdicts, err = nil, fmt.Errorf("the intake panicked: %v", r)
		}
	}()
	verdicts, err = m.cfg.Intake.Take(ctx, m.queue, notices)
	if err != nil {
		return nil, err
	}
	if len(verdicts) != len(notices) {
		return nil, errAnswer
	}
	for _, v := range verdicts {
		if rank[v] == 0 {
			return nil, errAnswer
		}
	}
	return verdicts, nil
}

func reasonOf(err error) *notice.Dropped {
	var dropped *notice.Dropped
	if errors.As(err, &dropped) {
		return dropped
	}
	return &notice.Dropped{Reason: "unreadable", Poison: true}
}
