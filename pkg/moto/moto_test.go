package moto_test

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/cloudoptim/cloudoptim/pkg/moto"
	"github.com/cloudoptim/cloudoptim/pkg/moto/mototest"
)

func TestMain(m *testing.M) { mototest.Main(m) }

// queue is one of the test's own.
type queue struct {
	t      *testing.T
	client *sqs.Client
	url    string
}

func newQueue(t *testing.T, attributes map[string]string) queue {
	t.Helper()
	return queue{t, mototest.Server(t).SQS(mototest.Region), mototest.Queue(t, attributes)}
}

func (q queue) send(body string, delay int32) {
	q.t.Helper()
	_, err := q.client.SendMessage(q.t.Context(), &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: &body, DelaySeconds: delay})
	require(q.t, err)
}

func (q queue) receive(wait, visibility int32) []types.Message {
	out, err := q.client.ReceiveMessage(q.t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &q.url, MaxNumberOfMessages: 10, WaitTimeSeconds: wait, VisibilityTimeout: visibility,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
	})
	if err != nil {
		q.t.Errorf("receiving: %v", err)
		return nil
	}
	return out.Messages
}

func (q queue) remove(receipt *string) {
	if _, err := q.client.DeleteMessage(q.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &q.url, ReceiptHandle: receipt}); err != nil {
		q.t.Errorf("deleting: %v", err)
	}
}

// counts are visible, in flight and delayed.
func (q queue) counts() string {
	q.t.Helper()
	out, err := q.client.GetQueueAttributes(q.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &q.url, AttributeNames: []types.QueueAttributeName{"All"}})
	require(q.t, err)
	var n []string
	for _, name := range []string{"", "NotVisible", "Delayed"} {
		n = append(n, out.Attributes["ApproximateNumberOfMessages"+name])
	}
	return strings.Join(n, " ")
}

func TestManyClientsOfAQueueLoseNothingAndGetNothingTwice(t *testing.T) {
	q := newQueue(t, nil)
	const clients, each = 6, 60
	var all, sending sync.WaitGroup
	for c := range clients {
		sending.Go(func() {
			for i := range each {
				q.send(fmt.Sprint(c, "/", i), 0)
			}
		})
	}
	var mu sync.Mutex
	got := map[string]int{}
	done := make(chan struct{})
	for range clients {
		all.Go(func() {
			for {
				messages := q.receive(1, 60)
				for _, message := range messages {
					mu.Lock()
					got[*message.Body]++
					mu.Unlock()
					q.remove(message.ReceiptHandle)
				}
				select {
				case <-done:
					if len(messages) == 0 {
						return
					}
				default:
				}
			}
		})
	}
	sending.Wait()
	close(done)
	all.Wait()
	total := 0
	for n := range maps.Values(got) {
		total += n
	}
	if len(got) != clients*each || total != clients*each {
		t.Errorf("%d messages in %d deliveries, sent were %d", len(got), total, clients*each)
	}
	if counts := q.counts(); counts != "0 0 0" {
		t.Errorf("left are %s", counts)
	}
}

func TestAMessageIsOutOfSightAsLongAsItsReceiverWants(t *testing.T) {
	q := newQueue(t, nil)
	q.send("x", 0)
	first := q.receive(0, 2)
	if len(first) != 1 || len(q.receive(0, 2)) != 0 || q.counts() != "0 1 0" {
		t.Fatalf("received %d, counts %s", len(first), q.counts())
	}
	change := func(seconds int32) {
		t.Helper()
		_, err := q.client.ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: &q.url, ReceiptHandle: first[0].ReceiptHandle, VisibilityTimeout: seconds})
		require(t, err)
	}
	change(60)
	if n := len(q.receive(3, 2)); n != 0 { // extended in time
		t.Errorf("received %d", n)
	}
	change(0)
	again := q.receive(0, 1)
	if len(again) != 1 || again[0].Attributes["ApproximateReceiveCount"] != "2" || *again[0].ReceiptHandle == *first[0].ReceiptHandle {
		t.Fatalf("received %+v", again)
	}
	if n := len(q.receive(3, 60)); n != 1 { // a long poll sees it return
		t.Errorf("received %d", n)
	}
	q.remove(first[0].ReceiptHandle)
	if counts := q.counts(); counts != "0 0 0" {
		t.Errorf("left are %s", counts)
	}
}

func TestADelayedMessageComesWhenItsTimeIsOver(t *testing.T) {
	q := newQueue(t, nil)
	q.send("x", 2)
	if n := len(q.receive(0, 60)); n != 0 || q.counts() != "0 0 1" {
		t.Errorf("received %d, counts %s", n, q.counts())
	}
	if n := len(q.receive(5, 60)); n != 1 {
		t.Errorf("received %d", n)
	}
}

func TestALongPollEndsWithTheFirstMessage(t *testing.T) {
	q := newQueue(t, nil)
	got := make(chan int, 1)
	begun := time.Now()
	go func() { got <- len(q.receive(20, 60)) }()
	q.send("x", 0)
	if n := <-got; n != 1 || time.Since(begun) > 15*time.Second {
		t.Errorf("received %d after %s", n, time.Since(begun))
	}
}

func TestAMessageThatIsReceivedTooOftenDies(t *testing.T) {
	dead := newQueue(t, nil)
	out, err := dead.client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &dead.url, AttributeNames: []types.QueueAttributeName{"QueueArn"}})
	require(t, err)
	q := newQueue(t, map[string]string{"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":2}`, out.Attributes["QueueArn"])})
	q.send("x", 0)
	for n := range 2 {
		messages := q.receive(0, 60)
		if len(messages) != 1 {
			t.Fatalf("receive %d: %d messages", n, len(messages))
		}
		_, err := q.client.ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: &q.url, ReceiptHandle: messages[0].ReceiptHandle})
		require(t, err)
	}
	if n := len(q.receive(0, 60)); n != 0 {
		t.Errorf("received %d", n)
	}
	if n := len(dead.receive(0, 60)); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

func TestAnUnknownReceiptIsRefusedAndADeletedOneIsNot(t *testing.T) {
	q := newQueue(t, nil)
	q.send("x", 0)
	message := q.receive(0, 60)[0]
	q.remove(message.ReceiptHandle)
	q.remove(message.ReceiptHandle)
	_, err := q.client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &q.url, ReceiptHandle: aws.String("nobody's")})
	if err == nil {
		t.Error("an unknown receipt was taken")
	}
}

func TestAThousandMessagesTakeSecondsAndNotMinutes(t *testing.T) {
	q := newQueue(t, nil)
	begun := time.Now()
	for batch := range 100 {
		var entries []types.SendMessageBatchRequestEntry
		for i := range 10 {
			entries = append(entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(fmt.Sprint(batch, i))})
		}
		_, err := q.client.SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{QueueUrl: &q.url, Entries: entries})
		require(t, err)
	}
	received := 0
	for received < 1000 {
		messages := q.receive(1, 60)
		if len(messages) == 0 {
			t.Fatalf("only %d messages came", received)
		}
		received += len(messages)
		var entries []types.DeleteMessageBatchRequestEntry
		for i, message := range messages {
			entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: message.ReceiptHandle})
		}
		_, err := q.client.DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &q.url, Entries: entries})
		require(t, err)
	}
	took := time.Since(begun)
	t.Logf("%d messages sent, received and deleted by one client in %s", received, took)
	if took > 40*time.Second { // as moto is without queues.py, it takes twice that on an idle machine
		t.Errorf("took %s", took)
	}
}

func TestTheEnvironmentIsNamedByWhatItIsMadeOf(t *testing.T) {
	first, err := moto.Key(t.Context())
	require(t, err)
	second, err := moto.Key(t.Context())
	require(t, err)
	if first != second || len(first) != 16 {
		t.Errorf("%q, then %q", first, second)
	}
}

func TestAMissingMotoSaysHowToGetIt(t *testing.T) {
	t.Setenv("CLOUDOPTIM_CACHE", t.TempDir())
	_, err := moto.Installed(t.Context())
	if err == nil || !strings.Contains(err.Error(), "make lab") {
		t.Errorf("error is %v", err)
	}
}

func require(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
