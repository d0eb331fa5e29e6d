package aws_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/cloudoptim/cloudoptim/pkg/moto/mototest"
)

func TestMain(m *testing.M) { mototest.Main(m) }

// call asks moto for a service that the product has no client for.
func call(t *testing.T, service, target, contentType, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, mototest.Server(t).Endpoint, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	// moto finds the service by the signature's scope and checks no more of it.
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=lab/20260101/"+mototest.Region+"/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
	if target != "" {
		req.Header.Set("X-Amz-Target", target)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v\n%s", service, resp.StatusCode, err, answer)
	}
	return string(answer)
}

// stack makes the template's stack.
func stack(t *testing.T, name string) {
	t.Helper()
	template, err := os.ReadFile("customer.yaml")
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{
		"Action": {"CreateStack"}, "Version": {"2010-05-15"}, "StackName": {name}, "TemplateBody": {string(template)},
		"Capabilities.member.1": {"CAPABILITY_NAMED_IAM"},
	}
	for i, parameter := range [][2]string{
		{"ClusterName", name},
		{"NodeRoleArn", "arn:aws:iam::123456789012:role/nodes"},
		{"CentralPrincipalArn", "arn:aws:iam::210987654321:role/cloudoptim-central"},
		{"ExternalId", "an-external-id"},
	} {
		form.Set(fmt.Sprintf("Parameters.member.%d.ParameterKey", i+1), parameter[0])
		form.Set(fmt.Sprintf("Parameters.member.%d.ParameterValue", i+1), parameter[1])
	}
	call(t, "cloudformation", "", "application/x-www-form-urlencoded", form.Encode())
}

// put lets EventBridge have an event.
func put(t *testing.T, source, detailType string, detail any) {
	t.Helper()
	text, err := json.Marshal(detail)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"Entries": []map[string]any{{"Source": source, "DetailType": detailType, "Detail": string(text)}}})
	if err != nil {
		t.Fatal(err)
	}
	call(t, "events", "AWSEvents.PutEvents", "application/x-amz-json-1.1", string(body))
}

// received are the detail-types of all messages in a queue.
func received(t *testing.T, client *sqs.Client, queue string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for {
		got, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 0, VisibilityTimeout: 600})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Messages) == 0 {
			return out
		}
		for _, msg := range got.Messages {
			var event struct {
				DetailType string `json:"detail-type"`
			}
			if err := json.Unmarshal([]byte(*msg.Body), &event); err != nil {
				t.Fatalf("%v in %s", err, *msg.Body)
			}
			out[event.DetailType]++
		}
	}
}

func TestTheStacksQueueHearsWhatCentralActsOnAndNothingElse(t *testing.T) {
	stack(t, "hears")
	wanted := map[string]string{
		"EC2 Spot Instance Interruption Warning": "aws.ec2", "EC2 Instance Rebalance Recommendation": "aws.ec2",
		"EC2 Instance State-change Notification": "aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning": "aws.ec2",
		"EC2 Interruptible Capacity Reservation Instance Interruption Warning": "aws.ec2",
		"EC2 Instance-terminate Lifecycle Action":                              "aws.autoscaling",
	}
	for detailType, source := range wanted {
		put(t, source, detailType, map[string]any{"instance-id": "i-0123456789abcdef0"})
	}
	put(t, "aws.health", "AWS Health Event", map[string]any{"service": "EC2", "eventTypeCategory": "scheduledChange"})
	put(t, "aws.health", "AWS Health Event", map[string]any{"service": "RDS", "eventTypeCategory": "scheduledChange"})
	put(t, "aws.health", "AWS Health Event", map[string]any{"service": "EC2", "eventTypeCategory": "issue"})
	put(t, "aws.ec2", "EBS Volume Notification", map[string]any{})
	put(t, "aws.autoscaling", "EC2 Instance Launch Successful", map[string]any{})
	client := mototest.Server(t).SQS(mototest.Region)
	name := "cloudoptim-hears"
	queue, err := client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	got := received(t, client, *queue.QueueUrl)
	for detailType := range wanted {
		if got[detailType] != 1 {
			t.Errorf("%q came %d times", detailType, got[detailType])
		}
		delete(got, detailType)
	}
	if len(got) != 1 || got["AWS Health Event"] != 1 {
		t.Errorf("beside these came %v", got)
	}
}

func TestTheStackDeadLettersAndTrustsOnlyWithTheExternalID(t *testing.T) {
	stack(t, "trusts")
	client := mototest.Server(t).SQS(mototest.Region)
	name := "cloudoptim-trusts"
	queue, err := client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	attributes, err := client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: queue.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		t.Fatal(err)
	}
	if redrive := attributes.Attributes["RedrivePolicy"]; !strings.Contains(redrive, "cloudoptim-trusts-dead-letters") || !strings.Contains(redrive, `"maxReceiveCount": 5`) && !strings.Contains(redrive, `"maxReceiveCount":5`) {
		t.Errorf("dead letters: %s", redrive)
	}
	form := url.Values{"Action": {"GetRole"}, "Version": {"2010-05-08"}, "RoleName": {name}}
	role := call(t, "iam", "", "application/x-www-form-urlencoded", form.Encode())
	trust, err := url.QueryUnescape(between(role, "<AssumeRolePolicyDocument>", "</AssumeRolePolicyDocument>"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"sts:ExternalId", "an-external-id", "arn:aws:iam::210987654321:role/cloudoptim-central"} {
		if !strings.Contains(trust, part) {
			t.Errorf("%s is not in the trust policy: %s", part, trust)
		}
	}
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}
