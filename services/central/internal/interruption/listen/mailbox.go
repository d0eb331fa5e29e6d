package listen

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// mailbox is one queue that is listened to.
type mailbox struct {
	*Listener
	queue  Queue
	client *sqs.Client
	region string
	log    *slog.Logger
	stop   context.CancelFunc
	share  chan struct{}
	health health
	dead   deadLetters

	polls, batches sync.WaitGroup
	mu             sync.Mutex
	pollers        int
}

func (l *Listener) mailbox(q Queue) *mailbox {
	return &mailbox{
		Listener: l, queue: q, log: l.cfg.Log.With("queue", q.URL), share: make(chan struct{}, maxShare),
		health: health{first: l.pace.backoff},
	}
}

// run listens with one poller and as many more as full batches ask for.
func (m *mailbox) run(ctx context.Context) {
	var err error
	if m.client, m.region, err = m.connect(m.queue); err != nil {
		m.health.enter(ctx, m.log, "refused", err)
		<-ctx.Done()
		m.health.leave()
		return
	}
	m.log.InfoContext(ctx, "listening", "shared", m.queue.Shared, "customers", len(m.queue.Customers))
	m.health.enter(ctx, m.log, healthy, nil)
	defer m.health.leave()
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	context.AfterFunc(ctx, func() { time.AfterFunc(m.pace.stop, end) })
	m.pollers = 1
	m.polls.Go(func() { m.poll(ctx, work) })
	m.polls.Wait()
	m.batches.Wait()
	m.log.InfoContext(work, "listening has ended")
}

// poll receives until ctx ends or one poller less is enough.
func (m *mailbox) poll(ctx, work context.Context) {
	for m.gate.pass(ctx) && acquire(ctx, m.share) {
		messages, err := m.receive(ctx)
		if len(messages) > 0 {
			m.batches.Go(func() {
				defer func() { <-m.share }()
				m.handle(ctx, work, messages)
			})
		} else {
			<-m.share
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failureCount.Add(ctx, 1, word("reason", trouble(err)))
			// Only the last poller counts towards the pause: eight that fail at once are one trouble.
			if m.shrink() || !sleep(ctx, m.health.failed(ctx, m.log, err)) {
				return
			}
			continue
		}
		m.health.enter(ctx, m.log, healthy, nil)
		if len(messages) == maxBatch {
			m.grow(ctx, work)
		} else if len(messages) == 0 && m.shrink() {
			return
		}
	}
}

// slack is what an answer may take beyond the wait for messages.
const slack = 10 * time.Second

func (m *mailbox) receive(ctx context.Context) ([]types.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, m.pace.wait+slack)
	defer cancel()
	out, err := m.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &m.queue.URL, MaxNumberOfMessages: maxBatch, WaitTimeSeconds: seconds(m.pace.wait),
		VisibilityTimeout:           seconds(m.pace.visibility),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{"SentTimestamp", "ApproximateReceiveCount"},
	}, func(o *sqs.Options) { o.RetryMaxAttempts = 1 })
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}

// grow starts one more poller. Its caller is one, so polls.Wait is not over.
func (m *mailbox) grow(ctx, work context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pollers < maxPollers {
		m.pollers++
		m.polls.Go(func() { m.poll(ctx, work) })
	}
}

// shrink says whether the caller should end, as another poller is left.
func (m *mailbox) shrink() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pollers == 1 {
		return false
	}
	m.pollers--
	return true
}

// acquire takes a place; false when ctx ended first.
func acquire(ctx context.Context, places chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case places <- struct{}{}:
		return true
	}
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// seconds rounds up: SQS counts in whole ones.
func seconds(d time.Duration) int32 { return int32((d + time.Second - 1) / time.Second) }
