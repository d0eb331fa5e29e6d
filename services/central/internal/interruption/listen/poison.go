package listen

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// remembered is how long a queue's redrive policy is.
const remembered = 10 * time.Minute

// deadLetters is where a queue's poison goes.
type deadLetters struct {
	mu    sync.Mutex
	where dead
	until time.Time
}

// dead is a queue for dead letters.
type dead struct {
	exists bool
	url    string
}

// hopeless is after how many receives an unreadable message goes, although it is
// not known whether there are dead letters: it would come back for days.
const hopeless = 10

// bury sends a message that nobody can read to the queue's dead letters, with
// the reason, rather than let SQS send it there after some more receives without
// one. A queue that has none loses it, after its beginning was logged.
func (m *mailbox) bury(ctx context.Context, l *letter, f fate) fate {
	body := aws.ToString(l.message.Body)
	where, err := m.deadLetters(ctx)
	if err == nil && !where.exists || err != nil && l.receives > hopeless {
		m.log.WarnContext(l.ctx, "an unreadable message is dropped", "message", l.id(), "reason", f.reason, "begins", beginning(body))
		f.outcome = deleted
		return f
	}
	if err == nil {
		err = m.send(ctx, where.url, l, f.reason)
	}
	if err != nil { // SQS will send it there, some receives later
		m.log.WarnContext(l.ctx, "sending a message to the dead letters", "message", l.id(), "error", err)
		return fate{left, "bury_failed", growing(5*m.pace.backoff, l.receives, 60*m.pace.backoff), slog.LevelWarn}
	}
	return f
}

func (m *mailbox) send(ctx context.Context, url string, l *letter, reason string) error {
	_, err := m.client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: &url, MessageBody: l.message.Body,
		MessageAttributes: map[string]types.MessageAttributeValue{
			"reason":     {DataType: aws.String("String"), StringValue: &reason},
			"message_id": {DataType: aws.String("String"), StringValue: l.message.MessageId},
		},
	})
	return err
}

// deadLetters looks up where the queue's redrive policy points to.
func (m *mailbox) deadLetters(ctx context.Context) (dead, error) {
	m.dead.mu.Lock()
	defer m.dead.mu.Unlock()
	if time.Now().Before(m.dead.until) {
		return m.dead.where, nil
	}
	where, err := m.redrive(ctx)
	if err != nil {
		return dead{}, err
	}
	m.dead.where, m.dead.until = where, time.Now().Add(remembered)
	return where, nil
}

func (m *mailbox) redrive(ctx context.Context) (dead, error) {
	out, err := m.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &m.queue.URL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameRedrivePolicy},
	})
	if err != nil {
		return dead{}, fmt.Errorf("reading the redrive policy: %w", err)
	}
	text := out.Attributes[string(types.QueueAttributeNameRedrivePolicy)]
	if text == "" {
		return dead{}, nil
	}
	var policy struct {
		ARN string `json:"deadLetterTargetArn"`
	}
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		return dead{}, fmt.Errorf("reading the redrive policy: %w", err)
	}
	part := strings.Split(policy.ARN, ":")
	if len(part) != 6 {
		return dead{}, fmt.Errorf("reading the redrive policy: %q is no queue", policy.ARN)
	}
	found, err := m.client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &part[5], QueueOwnerAWSAccountId: &part[4]})
	if err != nil {
		return dead{}, fmt.Errorf("finding the queue of dead letters: %w", err)
	}
	return dead{exists: true, url: aws.ToString(found.QueueUrl)}, nil
}

// beginning is what a log may have of a body.
func beginning(body string) string {
	const enough = 256
	body = strings.ToValidUTF8(body[:min(len(body), enough)], "")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, body)
}
