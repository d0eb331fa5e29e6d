package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"
)

// sendAtOnce is SQS's limit for a batch.
const sendAtOnce = 10

func (s *Stage) queue() *sqs.Client {
	return sqs.New(sqs.Options{
		Region: s.Lab.Region, BaseEndpoint: aws.String(s.Lab.AWSEndpoint),
		Credentials: credentials.NewStaticCredentialsProvider("lab", "lab", ""),
	})
}

// Warn tells, as EventBridge does, that AWS takes spot instances back in two minutes.
func (s *Stage) Warn(ctx context.Context, instances ...string) error {
	bodies := make([]string, 0, len(instances))
	for _, instance := range instances {
		body, err := s.Message("EC2 Spot Instance Interruption Warning", map[string]any{"instance-id": instance, "instance-action": "terminate"})
		if err != nil {
			return err
		}
		bodies = append(bodies, body)
	}
	return s.Send(ctx, bodies...)
}

// Message is what EventBridge would put into the queue now, of an event of EC2's.
func (s *Stage) Message(detailType string, detail map[string]any) (string, error) {
	raw, err := json.Marshal(map[string]any{
		"version": "0", "id": uuid.NewString(), "detail-type": detailType, "source": "aws.ec2", "account": "123456789012",
		"time": time.Now().UTC().Format(time.RFC3339), "region": s.Lab.Region,
		"resources": []string{fmt.Sprintf("arn:aws:ec2:%sa:instance/%v", s.Lab.Region, detail["instance-id"])},
		"detail":    detail,
	})
	return string(raw), err
}

// Send puts messages into the cluster's queue.
func (s *Stage) Send(ctx context.Context, bodies ...string) error {
	client := s.queue()
	for len(bodies) > 0 {
		n := min(sendAtOnce, len(bodies))
		batch := &sqs.SendMessageBatchInput{QueueUrl: &s.Lab.SQSQueueURL}
		for i, body := range bodies[:n] {
			batch.Entries = append(batch.Entries, types.SendMessageBatchRequestEntry{
				Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(body),
			})
		}
		out, err := client.SendMessageBatch(ctx, batch)
		if err != nil {
			return fmt.Errorf("sending %d messages: %w", n, err)
		}
		if len(out.Failed) > 0 {
			return fmt.Errorf("sending %d messages: %d failed", n, len(out.Failed))
		}
		bodies = bodies[n:]
	}
	return nil
}

// Queued is how many messages wait in the queue, and how many were received and
// not deleted.
func (s *Stage) Queued(ctx context.Context) (waiting, flying int, err error) {
	got, err := s.queue().GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &s.Lab.SQSQueueURL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	if err != nil {
		return 0, 0, fmt.Errorf("counting the queue's messages: %w", err)
	}
	if waiting, err = strconv.Atoi(got.Attributes["ApproximateNumberOfMessages"]); err != nil {
		return 0, 0, err
	}
	flying, err = strconv.Atoi(got.Attributes["ApproximateNumberOfMessagesNotVisible"])
	return waiting, flying, err
}

// SpotEvents are what central has written down of AWS's words, newest first.
func (s *Stage) SpotEvents(ctx context.Context) ([]SpotEvent, error) {
	var events []SpotEvent
	return events, s.Admin.Get(ctx, "/api/v1/admin/spot-events?page_size=500&cluster_id="+s.ClusterID, &events)
}

// DrainQueue receives and deletes until nothing comes any more.
func (s *Stage) DrainQueue(ctx context.Context) error {
	client := s.queue()
	for {
		got, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &s.Lab.SQSQueueURL, MaxNumberOfMessages: sendAtOnce})
		if err != nil {
			return fmt.Errorf("receiving: %w", err)
		}
		if len(got.Messages) == 0 {
			return nil
		}
		batch := &sqs.DeleteMessageBatchInput{QueueUrl: &s.Lab.SQSQueueURL}
		for i, msg := range got.Messages {
			batch.Entries = append(batch.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: msg.ReceiptHandle})
		}
		if _, err := client.DeleteMessageBatch(ctx, batch); err != nil {
			return fmt.Errorf("deleting: %w", err)
		}
	}
}
