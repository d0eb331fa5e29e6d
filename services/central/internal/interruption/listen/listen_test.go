package listen

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/pkg/awsfault"
	"github.com/cloudoptim/cloudoptim/pkg/moto/mototest"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
)

func TestF1AMessageDeliveredTwiceIsTakenOnceByTwoReplicas(t *testing.T) {
	w := newWorld(t, 1)
	w.rules.Set(awsfault.Rule{Fault: awsfault.Duplicate, Rate: .5}, awsfault.Rule{Fault: awsfault.Reorder, Rate: .2})
	queue := w.queue(false, nil)
	instances := fleet("1", 80)
	w.send(queue, slices.Concat(spots(instances), spots(instances))...) // EventBridge says all of it twice
	w.listen()
	w.listen()
	await(t, "all to be taken", func() bool { return len(w.intake.taken()) == len(instances) })
	w.rules.Set()
	w.awaitSize(queue, 0)
	w.requireTakenOnce(instances)
	if n := w.rules.Counts()[awsfault.Duplicate]; n < 20 {
		t.Errorf("only %d duplicates", n)
	}
}

func TestF1WhatIsTakenForLongDoesNotComeAgainMeanwhile(t *testing.T) {
	w := newWorld(t, 1)
	queue := w.queue(false, nil)
	w.intake.fault = func([]notice.Notice) error {
		time.Sleep(2 * testPace.visibility)
		return nil
	}
	w.listen()
	w.send(queue, spot("i-slow"))
	w.awaitSize(queue, 0)
	if n := w.intake.called("i-slow"); n != 1 {
		t.Errorf("offered %d times", n)
	}
}

// brokenBodies are those of the corpus.
func brokenBodies(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../notice/testdata/corpus/broken_*.body")
	require(t, err)
	var bodies []string
	for _, file := range files {
		body, err := os.ReadFile(file)
		require(t, err)
		if len(body) > 0 { // SQS has no empty messages
			bodies = append(bodies, string(body))
		}
	}
	if len(bodies) < 15 {
		t.Fatalf("only %d broken messages", len(bodies))
	}
	return append(bodies, strings.Repeat("x", 256<<10))
}

func TestF3PoisonGoesToTheDeadLettersWithItsReasonAndHoldsUpNobody(t *testing.T) {
	w := newWorld(t, 3)
	attributes, dead := w.withDeadLetters(5)
	queue := w.queue(false, attributes)
	broken := brokenBodies(t)
	for _, body := range broken {
		w.send(queue, body) // one by one, as a batch has a limit to its size
	}
	w.send(queue, spot("i-good"))
	w.listen()
	w.awaitSize(queue, 0)
	w.awaitSize(dead, len(broken))
	w.requireTakenOnce([]string{"i-good"})
	out, err := w.aws.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &dead, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"}})
	require(t, err)
	for _, message := range out.Messages {
		reason := message.MessageAttributes["reason"]
		if reason.StringValue == nil || *reason.StringValue == "" || message.MessageAttributes["message_id"].StringValue == nil {
			t.Errorf("a dead letter without its reason: %v", message.MessageAttributes)
		}
	}
	if n := w.log.count("outcome=dead_lettered"); n != len(broken) {
		t.Errorf("%d lines about %d messages", n, len(broken))
	}
}

func TestF3PoisonWithoutDeadLettersIsDroppedAndItsBeginningLogged(t *testing.T) {
	w := newWorld(t, 3)
	queue := w.queue(false, nil)
	w.send(queue, "no \x07json "+strings.Repeat("x", 1000), spot("i-good"))
	w.listen()
	w.awaitSize(queue, 0)
	w.requireTakenOnce([]string{"i-good"})
	if w.log.count("an unreadable message is dropped", "no  json", "reason=not_a_json_object") != 1 {
		t.Errorf("log: %q", w.log.lines)
	}
	if w.log.count(strings.Repeat("x", 300)) != 0 {
		t.Error("the whole body is in the log")
	}
}

func TestF4TestNotificationsAndWhatIsNotForUsGoWithoutBeingTaken(t *testing.T) {
	w := newWorld(t, 4)
	queue := w.queue(false, nil)
	for _, name := range []string{"asg_test_notification", "sns_test_notification", "asg_launch_hook", "state_running", "unknown_kind", "health_of_another_service"} {
		body, err := os.ReadFile(filepath.Join("../notice/testdata/corpus", name+".body"))
		require(t, err)
		w.send(queue, string(body))
	}
	w.listen()
	w.awaitSize(queue, 0)
	if w.intake.offered != 0 {
		t.Errorf("%d offers", w.intake.offered)
	}
	for _, reason := range []string{"test_notification", "launch_hook", "state_not_acted_on", "unknown_kind", "not_for_us"} {
		if counter(t, "cloudoptim_interruption_messages", "reason", reason) == 0 {
			t.Errorf("%s is not counted", reason)
		}
		if w.log.count("outcome=deleted", "reason="+reason) == 0 {
			t.Errorf("no line says %s", reason)
		}
	}
}

func TestF5AllInstancesOfAHealthEventAreTakenBeforeItGoes(t *testing.T) {
	w := newWorld(t, 5)
	body, err := os.ReadFile("../notice/testdata/corpus/health_three_entities.body")
	require(t, err)
	queue := w.queue(false, nil)
	var joining atomic.Bool
	joining.Store(true)
	w.intake.verdict = func(instance string) Verdict {
		if instance == "i-0abcd2222" && joining.Load() {
			return Joining
		}
		return Taken
	}
	w.listen()
	w.send(queue, string(body))
	await(t, "two to be taken", func() bool { return len(w.intake.taken()) == 2 })
	if n := w.size(queue); n != 1 {
		t.Errorf("the message is gone while one instance of it joins (%d)", n)
	}
	joining.Store(false)
	w.awaitSize(queue, 0)
	if n := len(w.intake.taken()); n != 3 {
		t.Errorf("%d taken", n)
	}
}

func TestF6StaleReceiptsAndLostDeletesAreRepairedByRedelivery(t *testing.T) {
	for name, rule := range map[string]awsfault.Rule{
		"stale receipts": {Fault: awsfault.StaleReceipt, Times: 15},
		"lost responses": {Fault: awsfault.LostResponse, Action: "DeleteMessageBatch", Times: 2},
		"throttled":      {Fault: awsfault.Throttle, Action: "DeleteMessageBatch", Times: 6},
		"lost receives":  {Fault: awsfault.LostResponse, Action: "ReceiveMessage", Times: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 6)
			w.rules.Set(rule)
			queue := w.queue(false, nil)
			instances := fleet("6", 20)
			w.send(queue, spots(instances)...)
			w.listen()
			w.awaitSize(queue, 0)
			w.requireTakenOnce(instances)
			if n := w.rules.Counts()[rule.Fault]; n != rule.Times {
				t.Errorf("the fault happened %d times", n)
			}
		})
	}
}

func TestF6AQueueInTroubleIsReportedOnceAndHoldsUpNoOther(t *testing.T) {
	for fault, reason := range map[awsfault.Fault]string{
		awsfault.Throttle: "throttled", awsfault.AccessDenied: "access_denied", awsfault.QueueGone: "queue_gone", awsfault.LostResponse: "unreachable",
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 6)
			bad, good := w.queue(false, nil), w.queue(false, nil)
			w.rules.Set(awsfault.Rule{Fault: fault, Queue: bad})
			w.listen()
			before := counter(t, "cloudoptim_interruption_queue_failures", "reason", reason)
			await(t, "some tries", func() bool { return w.rules.Counts()[fault] >= 4 })
			w.send(bad, spot("i-bad"))
			w.send(good, spot("i-good"))
			w.awaitSize(good, 0)
			if n := w.log.count("cannot be read", "reason="+reason); n != 1 {
				t.Errorf("%d lines say so", n)
			}
			w.requireTakenOnce([]string{"i-good"})
			if n := counter(t, "cloudoptim_interruption_queue_failures", "reason", reason) - before; n < 3 {
				t.Errorf("%d failures are counted", n)
			}
			if n := counter(t, "cloudoptim_interruption_queues", "state", reason); n != 1 {
				t.Errorf("%d queues are in that state", n)
			}
			w.rules.Set()
			await(t, "the queue to be read again", func() bool { return len(w.intake.taken()) == 2 })
			await(t, "a line that says so", func() bool { return w.log.count("can be read again", "was="+reason) == 1 })
		})
	}
}

func TestF6ARoleThatMayNotBeAssumedIsTroubleOfItsQueueAlone(t *testing.T) {
	w := newWorld(t, 6)
	queue := w.queue(false, nil)
	w.rules.Set(awsfault.Rule{Fault: awsfault.AccessDenied, Action: "AssumeRole", Times: 2})
	w.listen()
	await(t, "a line that says so", func() bool { return w.log.count("cannot be read", "access_denied") == 1 })
	w.send(queue, spot("i-later"))
	w.awaitSize(queue, 0)
	for _, secret := range []string{"external", "lab-external-id"} {
		if w.log.count(secret) != 0 {
			t.Errorf("%q is in the log", secret)
		}
	}
}

func TestF7AnothersMessageGoesFromOurQueueAndStaysInASharedOne(t *testing.T) {
	w := newWorld(t, 7)
	own, shared := w.queue(false, nil), w.queue(true, nil)
	w.intake.verdict = func(instance string) Verdict {
		if strings.HasPrefix(instance, "i-theirs") {
			return Foreign
		}
		return Taken
	}
	w.send(own, spot("i-theirs1"), spot("i-ours1"))
	w.send(shared, spot("i-theirs2"), spot("i-ours2"), "nobody can read this", `{"Event":"autoscaling:TEST_NOTIFICATION"}`)
	stop := w.listen()
	w.awaitSize(own, 0)
	w.awaitSize(shared, 3)
	await(t, "theirs to be offered again", func() bool { return w.intake.called("i-theirs2") >= 2 })
	stop()
	w.requireTakenOnce([]string{"i-ours1", "i-ours2"})
	var theirs []string
	await(t, "the other reader to get all three", func() bool {
		out, err := w.aws.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &shared, MaxNumberOfMessages: 10, WaitTimeSeconds: 1})
		require(t, err)
		for _, message := range out.Messages {
			theirs = append(theirs, *message.Body)
		}
		return len(theirs) == 3
	})
}

func TestF7AHealthEventOfTwoClustersStaysInASharedQueue(t *testing.T) {
	w := newWorld(t, 7)
	body, err := os.ReadFile("../notice/testdata/corpus/health_three_entities.body")
	require(t, err)
	shared := w.queue(true, nil)
	w.intake.verdict = func(instance string) Verdict {
		if instance == "i-0abcd3333" {
			return Foreign
		}
		return Taken
	}
	w.send(shared, string(body))
	w.listen()
	await(t, "a second offer", func() bool { return w.intake.called("i-0abcd1111") >= 2 })
	if n := w.size(shared); n != 1 || len(w.intake.taken()) != 2 {
		t.Errorf("%d messages are left, %d notices were taken", n, len(w.intake.taken()))
	}
}

// F8: 15,000 messages at once, a tenth of them ours. What is asserted is that
// each is handled as it should be; the time is moto's more than ours.
func TestF8ABurstOf15000MessagesIsHandledToTheLast(t *testing.T) {
	w := newWorld(t, 8)
	queue := w.queue(false, nil)
	ours, others := fleet("ours", 1500), fleet("theirs", 13500)
	w.intake.verdict = func(instance string) Verdict {
		if strings.HasPrefix(instance, "i-theirs") {
			return Foreign
		}
		return Taken
	}
	var bodies []string
	for i, instance := range others {
		if i%9 == 0 {
			bodies = append(bodies, spot(ours[i/9]))
		}
		bodies = append(bodies, spot(instance))
	}
	begun := time.Now()
	w.send(queue, bodies...)
	t.Logf("moto took %d messages in %s", len(bodies), time.Since(begun).Round(time.Millisecond))
	begun = time.Now()
	w.listen(func(p *pace) { *p = usualPace })
	await(t, "ours to be taken", func() bool { return len(w.intake.taken()) == len(ours) })
	t.Logf("all of ours taken after %s", time.Since(begun).Round(time.Millisecond))
	w.awaitSize(queue, 0)
	took := time.Since(begun)
	t.Logf("the queue is empty after %s: %.0f messages/s", took.Round(time.Millisecond), float64(len(bodies))/took.Seconds())
	w.requireTakenOnce(ours)
	if w.intake.largest > maxBatch {
		t.Errorf("a batch of %d", w.intake.largest)
	}
}

func TestWhileNothingCanBeTakenMessagesStayAndDoNotDieOfLooking(t *testing.T) {
	w := newWorld(t, 40)
	attributes, dead := w.withDeadLetters(5)
	queue := w.queue(false, attributes)
	instances := fleet("40", 300)
	w.intake.fault = func([]notice.Notice) error { return errors.New("the database is away") }
	w.listen(func(p *pace) { p.outage = time.Minute })
	w.send(queue, spots(instances)...)
	await(t, "the gate to close", func() bool { return w.log.count("nothing can be taken") == 1 })
	time.Sleep(8 * time.Second) // longer than five receives would need to kill them
	w.intake.set(func(i *intake) { i.fault = nil })
	w.awaitSize(queue, 0)
	w.requireTakenOnce(instances)
	if n := w.size(dead); n != 0 {
		t.Errorf("%d messages died", n)
	}
	if w.log.count("messages can be taken again") != 1 {
		t.Error("no line says that it is over")
	}
}

func TestF42OneMessageThatCannotBeTakenHoldsUpNoOther(t *testing.T) {
	w := newWorld(t, 42)
	attributes, dead := w.withDeadLetters(3)
	queue := w.queue(false, attributes)
	w.intake.fault = func(notices []notice.Notice) error {
		for _, n := range notices {
			if n.InstanceID == "i-panic" {
				panic("a bug")
			}
		}
		return nil
	}
	good := fleet("42", 30)
	w.send(queue, slices.Concat(spots(good[:15]), []string{spot("i-panic")}, spots(good[15:]))...)
	w.listen()
	await(t, "the others to be taken", func() bool { return len(w.intake.taken()) == len(good) })
	w.awaitSize(dead, 1)
	w.awaitSize(queue, 0)
	w.requireTakenOnce(good)
}

func TestVerdictsThatDoNotFitAreAnError(t *testing.T) {
	w := newWorld(t, 9)
	queue := w.queue(false, nil)
	var wrong atomic.Bool
	wrong.Store(true)
	w.intake.verdict = func(string) Verdict {
		if wrong.Load() {
			return 0
		}
		return Taken
	}
	w.listen()
	w.send(queue, spot("i-1"))
	await(t, "an error", func() bool { return w.log.count("taking messages", "do not fit") > 0 })
	if n := w.size(queue); n != 1 {
		t.Errorf("%d messages are left", n)
	}
	wrong.Store(false)
	w.awaitSize(queue, 0)
}

func TestAnInstanceThatJoinsLaterIsTakenThen(t *testing.T) {
	w := newWorld(t, 10)
	queue := w.queue(false, nil)
	var joined atomic.Bool
	w.intake.verdict = func(string) Verdict {
		if joined.Load() {
			return Taken
		}
		return Joining
	}
	w.listen()
	w.send(queue, spot("i-new"))
	await(t, "two offers", func() bool { return w.intake.called("i-new") >= 2 })
	joined.Store(true)
	w.awaitSize(queue, 0)
	w.requireTakenOnce([]string{"i-new"})
}

func TestStoppingFinishesWhatIsBeingTaken(t *testing.T) {
	w := newWorld(t, 11)
	queue := w.queue(false, nil)
	begun := make(chan struct{})
	end := make(chan struct{})
	w.intake.fault = func([]notice.Notice) error {
		close(begun)
		<-end
		return nil
	}
	stop := w.listen()
	w.send(queue, spot("i-last"))
	<-begun
	stopped := make(chan struct{})
	go func() {
		stop()
		close(stopped)
	}()
	time.Sleep(300 * time.Millisecond)
	select {
	case <-stopped:
		t.Error("it stopped without waiting")
	default:
	}
	close(end)
	<-stopped
	if n := w.size(queue); n != 0 {
		t.Errorf("%d messages are left", n)
	}
	w.requireTakenOnce([]string{"i-last"})
}

func TestStoppingGivesUpOnATakeThatDoesNotEnd(t *testing.T) {
	w := newWorld(t, 12)
	queue := w.queue(false, nil)
	begun := make(chan struct{}, 100)
	w.intake.fault = func([]notice.Notice) error {
		begun <- struct{}{}
		time.Sleep(time.Second)
		return errors.New("no")
	}
	stop := w.listen(func(p *pace) { p.stop = 100 * time.Millisecond })
	w.send(queue, spot("i-left"))
	<-begun
	stop()
	if n := w.size(queue); n != 1 {
		t.Errorf("%d messages are left", n)
	}
}

func TestQueuesComeAndGoWhileListening(t *testing.T) {
	w := newWorld(t, 13)
	first := w.queue(false, nil)
	w.listen()
	w.send(first, spot("i-1"))
	w.awaitSize(first, 0)
	second := mototest.Queue(t, nil)
	w.queues.set(Queue{Customers: []uuid.UUID{uuid.New(), uuid.New()}, URL: second})
	await(t, "the first to be left", func() bool { return w.log.count("listening has ended") == 1 })
	w.send(first, spot("i-2"))
	w.send(second, spot("i-3"))
	w.awaitSize(second, 0)
	if n := w.size(first); n != 1 {
		t.Errorf("%d messages are in the queue that was left", n)
	}
	w.requireTakenOnce([]string{"i-1", "i-3"})
}

func TestEveryNoticeCarriesTheTraceOfItsMessage(t *testing.T) {
	w := newWorld(t, 14)
	recordSpans(t)
	queue := w.queue(false, nil)
	w.listen()
	w.send(queue, spots(fleet("14", 5))...)
	w.awaitSize(queue, 0)
	seen := map[string]bool{}
	for _, parent := range w.intake.contexts {
		if len(parent) != 55 || seen[parent] {
			t.Errorf("traceparent %q", parent)
		}
		seen[parent] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d traces", len(seen))
	}
}

func TestOnlyHostsOfSQSAreSpokenTo(t *testing.T) {
	l, err := New(t.Context(), Config{Region: "eu-west-1"})
	require(t, err)
	for u, region := range map[string]string{
		"https://sqs.us-east-1.amazonaws.com/123456789012/q":                          "us-east-1",
		"https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/q":                 "us-gov-west-1",
		"https://us-west-2.queue.amazonaws.com/123456789012/q":                        "us-west-2",
		"https://queue.amazonaws.com/123456789012/q":                                  "eu-west-1",
		"https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q":                      "cn-north-1",
		"https://vpce-0a1b-2c3d.sqs.ap-southeast-2.vpce.amazonaws.com/123456789012/q": "ap-southeast-2",
		"https://sqs.eu-central-1.api.aws/123456789012/q":                             "eu-central-1",
		"http://sqs.us-east-1.amazonaws.com/123456789012/q":                           "",
		"https://169.254.169.254/latest/meta-data":                                    "",
		"https://sqs.us-east-1.amazonaws.com.example.com/123456789012/q":              "",
		"https://ec2-1-2-3-4.compute-1.amazonaws.com/123456789012/q":                  "",
		"https://sqs.us-east-1.amazonaws.com:8443/123456789012/q":                     "",
		"https://user:password@sqs.us-east-1.amazonaws.com/123456789012/q":            "",
		"https://bucket.s3.amazonaws.com/q":                                           "",
		"::":                                                                          "",
	} {
		client, got, err := l.connect(Queue{URL: u})
		if (region == "") != (err != nil) || got != region || (client == nil) != (region == "") {
			t.Errorf("%s: region %q, error %v", u, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "password") {
			t.Errorf("a secret in %v", err)
		}
	}
}
