package cloud

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Status is how EC2 says an instance is.
type Status struct {
	InstanceID, Zone, State string
	// Unknown: EC2 has no such instance any more.
	Unknown bool
	Events  []Scheduled
}

// Scheduled is something that AWS will do to an instance.
type Scheduled struct {
	ID, Code  string
	NotBefore time.Time
}

// Marked is a spot instance that EC2 takes back.
type Marked struct {
	InstanceID string
	// Action is terminate, stop or hibernate.
	Action string
	// At is when it was marked.
	At time.Time
}

// Statuses of instances, in whatever state they are. Events that are over are
// left out.
func (c *Cloud) Statuses(ctx context.Context, account Account, ids []string) ([]Status, error) {
	var out []Status
	for batch := range slices.Chunk(ids, describeBatch) {
		known := map[string]bool{}
		err := withoutUnknown(batch, func(ids []string) error {
			answer, err := c.client(account).DescribeInstanceStatus(ctx, &ec2.DescribeInstanceStatusInput{
				InstanceIds: ids, IncludeAllInstances: aws.Bool(true),
			})
			if err != nil {
				return fmt.Errorf("asking for the status of %d instances: %w", len(ids), err)
			}
			for _, one := range answer.InstanceStatuses {
				known[aws.ToString(one.InstanceId)] = true
				out = append(out, status(one))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for _, id := range batch {
			if !known[id] {
				out = append(out, Status{InstanceID: id, State: string(types.InstanceStateNameTerminated), Unknown: true})
			}
		}
	}
	return out, nil
}

func status(one types.InstanceStatus) Status {
	out := Status{InstanceID: aws.ToString(one.InstanceId), Zone: aws.ToString(one.AvailabilityZone)}
	if one.InstanceState != nil {
		out.State = string(one.InstanceState.Name)
	}
	for _, event := range one.Events {
		// AWS keeps them for a week, with a mark in the description.
		if text := aws.ToString(event.Description); strings.HasPrefix(text, "[Completed]") || strings.HasPrefix(text, "[Canceled]") {
			continue
		}
		out.Events = append(out.Events, Scheduled{
			ID: aws.ToString(event.InstanceEventId), Code: string(event.Code), NotBefore: aws.ToTime(event.NotBefore),
		})
	}
	return out
}

// marks are the states of a spot request whose instance is taken back.
var marks = map[string]string{
	"marked-for-termination": "terminate", "marked-for-stop": "stop", "marked-for-hibernation": "hibernate",
}

// Marks are the spot instances of an account that EC2 is about to take back.
func (c *Cloud) Marks(ctx context.Context, account Account) ([]Marked, error) {
	var out []Marked
	// All that are active, not by instance: a page has a thousand, a filter two hundred.
	pages := ec2.NewDescribeSpotInstanceRequestsPaginator(c.client(account), &ec2.DescribeSpotInstanceRequestsInput{
		Filters: []types.Filter{{Name: aws.String("state"), Values: []string{"active"}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading spot requests: %w", err)
		}
		for _, one := range page.SpotInstanceRequests {
			if one.Status == nil || marks[aws.ToString(one.Status.Code)] == "" {
				continue
			}
			out = append(out, Marked{
				InstanceID: aws.ToString(one.InstanceId), Action: marks[aws.ToString(one.Status.Code)], At: aws.ToTime(one.Status.UpdateTime),
			})
		}
	}
	return out, nil
}
