package awsfault_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/cloudoptim/cloudoptim/pkg/awsfault"
	"github.com/cloudoptim/cloudoptim/pkg/moto/mototest"
)

func TestMain(m *testing.M) { mototest.Main(m) }

func config(t *testing.T, rules *awsfault.Rules) aws.Config {
	t.Helper()
	return aws.Config{
		Region: mototest.Region, BaseEndpoint: aws.String(mototest.Server(t).Endpoint), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient:  &http.Client{Transport: rules.Transport(nil)},
	}
}

func queues(t *testing.T, rules *awsfault.Rules) *sqs.Client {
	t.Helper()
	return sqs.NewFromConfig(config(t, rules))
}

func send(t *testing.T, client *sqs.Client, queue string, n int) {
	t.Helper()
	for i := range n {
		_, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: aws.String(strconv.Itoa(i))})
		require(t, err)
	}
}

func receive(t *testing.T, client *sqs.Client, queue string) []types.Message {
	t.Helper()
	out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue, MaxNumberOfMessages: 10, VisibilityTimeout: 60})
	require(t, err)
	return out.Messages
}

// bodies counts what was received in some answers.
func bodies(t *testing.T, client *sqs.Client, queue string, answers int) (order []string, times map[string]int) {
	t.Helper()
	times = map[string]int{}
	for range answers {
		for _, message := range receive(t, client, queue) {
			order = append(order, *message.Body)
			times[*message.Body]++
		}
	}
	return order, times
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func TestWithoutRulesNothingIsChanged(t *testing.T) {
	rules := awsfault.New(1)
	client, queue := queues(t, rules), mototest.Queue(t, nil)
	send(t, client, queue, 5)
	order, _ := bodies(t, client, queue, 2)
	if diff := cmp.Diff([]string{"0", "1", "2", "3", "4"}, order); diff != "" {
		t.Error(diff)
	}
	if len(rules.Counts()) != 0 {
		t.Errorf("counts: %v", rules.Counts())
	}
}

func TestDuplicatesComeAtOnceAndLater(t *testing.T) {
	rules := awsfault.New(1, awsfault.Rule{Fault: awsfault.Duplicate, Times: 4})
	client, queue := queues(t, rules), mototest.Queue(t, nil)
	send(t, client, queue, 4)
	first := receive(t, client, queue)
	if len(first) <= 4 {
		t.Errorf("%d messages in the first answer", len(first))
	}
	for _, message := range first { // also what is deleted comes again
		_, err := client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &queue, ReceiptHandle: message.ReceiptHandle})
		require(t, err)
	}
	_, later := bodies(t, client, queue, 2)
	total := len(first)
	for _, n := range later {
		total += n
	}
	if total != 8 || rules.Counts()[awsfault.Duplicate] != 4 {
		t.Errorf("%d deliveries, %v", total, rules.Counts())
	}
}

func TestReorderingLosesNothing(t *testing.T) {
	rules := awsfault.New(3, awsfault.Rule{Fault: awsfault.Reorder, Rate: .5})
	client, queue := queues(t, rules), mototest.Queue(t, nil)
	send(t, client, queue, 20)
	order, times := bodies(t, client, queue, 6)
	if len(times) != 20 || len(order) != 20 {
		t.Errorf("%d deliveries of %d messages", len(order), len(times))
	}
	sorted := true
	for i := range order {
		sorted = sorted && order[i] == strconv.Itoa(i)
	}
	if sorted {
		t.Error("all came in order")
	}
}

func TestReceiptsGoStaleOneByOne(t *testing.T) {
	rules := awsfault.New(1, awsfault.Rule{Fault: awsfault.StaleReceipt, Times: 2})
	client, queue := queues(t, rules), mototest.Queue(t, nil)
	send(t, client, queue, 5)
	var entries []types.DeleteMessageBatchRequestEntry
	for i, message := range receive(t, client, queue) {
		entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: message.ReceiptHandle})
	}
	out, err := client.DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &queue, Entries: entries})
	require(t, err)
	if len(out.Failed) != 2 || len(out.Successful) != 3 || *out.Failed[0].Code != "ReceiptHandleIsInvalid" {
		t.Errorf("%d failed, %d successful", len(out.Failed), len(out.Successful))
	}
	left, err := client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &queue, AttributeNames: []types.QueueAttributeName{"ApproximateNumberOfMessagesNotVisible"},
	})
	require(t, err)
	if left.Attributes["ApproximateNumberOfMessagesNotVisible"] != "2" {
		t.Errorf("left: %v", left.Attributes)
	}
	rules.Set(awsfault.Rule{Fault: awsfault.StaleReceipt})
	_, err = client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &queue, ReceiptHandle: entries[0].ReceiptHandle})
	if code(err) != "ReceiptHandleIsInvalid" {
		t.Errorf("error is %v", err)
	}
}

func TestRefusalsAreThoseOfEachProtocol(t *testing.T) {
	rules := awsfault.New(1)
	queue := mototest.Queue(t, nil)
	cfg := config(t, rules)
	calls := map[string]func() error{
		"sqs": func() error {
			_, err := sqs.NewFromConfig(cfg).ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue})
			return err
		},
		"ec2": func() error {
			_, err := ec2.NewFromConfig(cfg).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
			return err
		},
		"sts": func() error {
			_, err := sts.NewFromConfig(cfg).AssumeRole(t.Context(), &sts.AssumeRoleInput{
				RoleArn: aws.String("arn:aws:iam::123456789012:role/x"), RoleSessionName: aws.String("x"),
			})
			return err
		},
	}
	for fault, want := range map[awsfault.Fault]map[string]string{
		awsfault.Throttle:     {"sqs": "RequestThrottled", "ec2": "RequestLimitExceeded", "sts": "RequestLimitExceeded"},
		awsfault.AccessDenied: {"sqs": "AccessDenied", "ec2": "UnauthorizedOperation", "sts": "UnauthorizedOperation"},
		awsfault.QueueGone:    {"sqs": "QueueDoesNotExist", "ec2": "", "sts": ""},
	} {
		rules.Set(awsfault.Rule{Fault: fault})
		for service, call := range calls {
			err := call()
			if got := code(err); got != want[service] || (err == nil) != (want[service] == "") {
				t.Errorf("%s of %s: %v", fault, service, err)
			}
		}
	}
	rules.Set(awsfault.Rule{Fault: awsfault.QueueGone})
	var gone *types.QueueDoesNotExist
	if err := calls["sqs"](); !errors.As(err, &gone) {
		t.Errorf("error is %v", err)
	}
	rules.Set(awsfault.Rule{Fault: awsfault.Throttle, Action: "DescribeInstances"}, awsfault.Rule{Fault: awsfault.QueueGone, Queue: "another"})
	require(t, calls["sqs"]())
}

func TestALostResponseIsOfACallThatWasPerformed(t *testing.T) {
	rules := awsfault.New(1, awsfault.Rule{Fault: awsfault.LostResponse, Action: "SendMessage", Times: 1})
	client, queue := queues(t, rules), mototest.Queue(t, nil)
	_, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: aws.String("x")})
	if !errors.Is(err, awsfault.ErrLost) {
		t.Errorf("error is %v", err)
	}
	if n := len(receive(t, client, queue)); n != 1 {
		t.Errorf("%d messages", n)
	}
}

func TestADelayHoldsACallAndEndsWithItsContext(t *testing.T) {
	rules := awsfault.New(1, awsfault.Rule{Fault: awsfault.Delay, Delay: 150 * time.Millisecond, Times: 1})
	client, queue := queues(t, rules), mototest.Queue(t, nil)
	begun := time.Now()
	receive(t, client, queue)
	if took := time.Since(begun); took < 150*time.Millisecond {
		t.Errorf("took %s", took)
	}
}

func TestAPoolWithoutCapacityLeavesTheOthersAlone(t *testing.T) {
	rules := awsfault.New(1, awsfault.Rule{Fault: awsfault.NoCapacity, Pool: "m5.large/us-east-1a/spot"})
	client := ec2.NewFromConfig(config(t, rules))
	image, err := client.RegisterImage(t.Context(), &ec2.RegisterImageInput{Name: aws.String("node"), RootDeviceName: aws.String("/dev/xvda")})
	require(t, err)
	launch := func(kind ec2types.InstanceType, zone string, spot bool) error {
		in := &ec2.RunInstancesInput{
			ImageId: image.ImageId, InstanceType: kind, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			Placement: &ec2types.Placement{AvailabilityZone: &zone},
		}
		if spot {
			in.InstanceMarketOptions = &ec2types.InstanceMarketOptionsRequest{MarketType: ec2types.MarketTypeSpot}
		}
		_, err := client.RunInstances(t.Context(), in)
		return err
	}
	if err := launch("m5.large", "us-east-1a", true); code(err) != "InsufficientInstanceCapacity" {
		t.Errorf("error is %v", err)
	}
	require(t, launch("m5.large", "us-east-1b", true))
	require(t, launch("m5.large", "us-east-1a", false))
	require(t, launch("m5.xlarge", "us-east-1a", true))
	rules.Set(awsfault.Rule{Fault: awsfault.NoCapacity, Pool: "*/*/spot"})
	if err := launch("c5.large", "us-east-1c", true); code(err) != "InsufficientInstanceCapacity" {
		t.Errorf("error is %v", err)
	}
	require(t, launch("c5.large", "us-east-1c", false))
}

func TestTheSameSeedGivesTheSameFaults(t *testing.T) {
	counts := func() map[awsfault.Fault]int {
		rules := awsfault.New(7, awsfault.Rule{Fault: awsfault.Throttle, Rate: .5})
		client, queue := queues(t, rules), mototest.Queue(t, nil)
		for range 30 {
			_, _ = client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue})
		}
		return rules.Counts()
	}
	first, second := counts(), counts()
	if diff := cmp.Diff(first, second); diff != "" || first[awsfault.Throttle] < 5 || first[awsfault.Throttle] > 25 {
		t.Errorf("%v, then %v", first, second)
	}
}

func TestAProxyHasItsRulesSwitchedWhileItRuns(t *testing.T) {
	rules := awsfault.New(1)
	proxy, err := rules.Listen(mototest.Server(t).Endpoint)
	require(t, err)
	t.Cleanup(func() { require(t, proxy.Close()) })
	cfg := config(t, awsfault.New(1))
	cfg.BaseEndpoint = &proxy.Endpoint
	client, queue := sqs.NewFromConfig(cfg), mototest.Queue(t, nil)
	send(t, client, queue, 2)
	put := func(body string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, proxy.Control, bytes.NewBufferString(body))
		require(t, err)
		response, err := http.DefaultClient.Do(request)
		require(t, err)
		defer response.Body.Close()
		return response.StatusCode
	}
	if status := put(`[{"fault":"throttle","action":"ReceiveMessage"},{"fault":"lost_response","action":"SendMessage"}]`); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	_, err = client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue})
	if code(err) != "RequestThrottled" {
		t.Errorf("error is %v", err)
	}
	if _, err = client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: aws.String("x")}); err == nil || code(err) != "" {
		t.Errorf("error is %v", err)
	}
	response, err := http.Get(proxy.Control)
	require(t, err)
	defer response.Body.Close()
	var state awsfault.State
	require(t, json.NewDecoder(response.Body).Decode(&state))
	if len(state.Rules) != 2 || state.Counts[awsfault.Throttle] != 1 || state.Counts[awsfault.LostResponse] != 1 {
		t.Errorf("%+v", state)
	}
	if status := put(`[{"fault":"earthquake"}]`); status != http.StatusBadRequest {
		t.Errorf("status %d", status)
	}
	if status := put("nonsense"); status != http.StatusBadRequest {
		t.Errorf("status %d", status)
	}
	if status := put("[]"); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if n := len(receive(t, client, queue)); n != 3 { // the third was sent, though nobody was told
		t.Errorf("%d messages", n)
	}
}

func require(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
