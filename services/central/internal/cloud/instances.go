package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

// describeBatch is how many instances one call asks about.
const describeBatch = 100

// groupTag is put on an instance by the Auto Scaling group that launched it.
const groupTag = "aws:autoscaling:groupName"

// ClusterTag holds the id of the cluster on every instance that we launch.
const ClusterTag = "cloudoptim:cluster-id"

// Instance is what EC2 knows of one.
type Instance struct {
	ID, State, Type, Zone, Architecture string
	Spot                                bool
	LaunchedAt                          time.Time
	Tags                                map[string]string
}

// Group is the Auto Scaling group that manages it, or "".
func (i Instance) Group() string { return i.Tags[groupTag] }

// Over tells whether it is ended or about to.
func (i Instance) Over() bool { return i.State == "terminated" || i.State == "shutting-down" }

// Describe returns the instances that EC2 knows, by id.
func (c *Cloud) Describe(ctx context.Context, account Account, ids []string) (map[string]Instance, error) {
	out := make(map[string]Instance, len(ids))
	for batch := range slices.Chunk(ids, describeBatch) {
		if err := describe(ctx, c.client(account), batch, out); err != nil {
			return nil, fmt.Errorf("describing %d instances: %w", len(batch), err)
		}
	}
	return out, nil
}

// describe adds the instances that EC2 knows to out. Asked by id, EC2 answers at
// once and lets be asked oftener than with a filter; it refuses the call for those
// that it does not know, and names them. A filter is for when it does not name all.
func describe(ctx context.Context, client *ec2.Client, ids []string, out map[string]Instance) error {
	for range 3 {
		err := describePages(ctx, client, &ec2.DescribeInstancesInput{InstanceIds: ids}, out)
		bad, refused := unknownIn(err)
		if !refused {
			return err
		}
		ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(bad, id) })
		if len(ids) == 0 {
			return nil
		}
	}
	return describePages(ctx, client, &ec2.DescribeInstancesInput{
		Filters: []types.Filter{{Name: aws.String("instance-id"), Values: ids}},
	}, out)
}

func describePages(ctx context.Context, client *ec2.Client, in *ec2.DescribeInstancesInput, out map[string]Instance) error {
	pages := ec2.NewDescribeInstancesPaginator(client, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, reservation := range page.Reservations {
			for _, one := range reservation.Instances {
				out[aws.ToString(one.InstanceId)] = instance(one)
			}
		}
	}
	return nil
}

func instance(one types.Instance) Instance {
	out := Instance{
		ID: aws.ToString(one.InstanceId), Type: string(one.InstanceType), Architecture: string(one.Architecture),
		Spot: one.InstanceLifecycle == types.InstanceLifecycleTypeSpot, LaunchedAt: aws.ToTime(one.LaunchTime), Tags: map[string]string{},
	}
	if one.State != nil {
		out.State = string(one.State.Name)
	}
	if one.Placement != nil {
		out.Zone = aws.ToString(one.Placement.AvailabilityZone)
	}
	for _, tag := range one.Tags {
		out.Tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return out
}

// States of instances by id; one that EC2 does not know is "terminated".
func (c *Cloud) States(ctx context.Context, account Account, ids []string) (map[string]string, error) {
	known, err := c.Describe(ctx, account, ids)
	if err != nil {
		return nil, err
	}
	states := make(map[string]string, len(ids))
	for _, id := range ids {
		states[id] = string(types.InstanceStateNameTerminated)
		if one, ok := known[id]; ok {
			states[id] = one.State
		}
	}
	return states, nil
}

// Throttled tells that AWS asks to come back later.
func Throttled(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled", "RequestThrottledException",
		"TooManyRequestsException", "SlowDown", "EC2ThrottledException":
		return true
	default:
		return false
	}
}
