package listen

import (
	"context"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
)

var tracer = otel.Tracer("cloudoptim/central/interruption")

// letter is a message on its way through a batch.
type letter struct {
	message  types.Message
	sent     time.Time
	receives int
	// ctx carries the span in which the story of the message begins.
	ctx  context.Context
	span trace.Span

	dropped *notice.Dropped
	notices []notice.Notice
	// verdicts are nil until the intake has committed.
	verdicts []Verdict
}

// read opens a message.
func (m *mailbox) read(ctx context.Context, message types.Message) *letter {
	l := &letter{message: message, receives: 1}
	if ms, err := strconv.ParseInt(message.Attributes["SentTimestamp"], 10, 64); err == nil {
		l.sent = time.UnixMilli(ms).UTC()
	}
	if n, err := strconv.Atoi(message.Attributes["ApproximateReceiveCount"]); err == nil {
		l.receives = max(n, 1)
	}
	l.ctx, l.span = tracer.Start(ctx, "interruption message", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(attribute.String("messaging.system", "aws_sqs"),
			attribute.String("messaging.message.id", aws.ToString(message.MessageId))))
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(l.ctx, carrier)
	notices, err := notice.ParseSent([]byte(aws.ToString(message.Body)), l.sent)
	if err != nil {
		l.dropped = reasonOf(err)
		return l
	}
	for i := range notices {
		notices[i].Traceparent = carrier.Get("traceparent")
		if notices[i].Region == "" {
			notices[i].Region = m.region
		}
	}
	l.notices = notices
	return l
}

// verdict is the one that decides about the message: what has to wait, or is
// another's, keeps it from being deleted with what is ours.
func (l *letter) verdict() Verdict {
	var most Verdict
	for _, v := range l.verdicts {
		if most == 0 || rank[v] > rank[most] {
			most = v
		}
	}
	return most
}

var rank = map[Verdict]int{Duplicate: 1, Taken: 2, Foreign: 3, Joining: 4}

// id is SQS's name of the message.
func (l *letter) id() string { return aws.ToString(l.message.MessageId) }

// instances are those it names, as the log wants them.
func (l *letter) instances() []string {
	const enough = 10
	var ids []string
	for _, n := range l.notices[:min(len(l.notices), enough)] {
		ids = append(ids, n.InstanceID)
	}
	return ids
}
