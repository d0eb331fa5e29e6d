package cloud

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

// launchTag holds the client token on every instance: tokens are forgotten by
// EC2 after a while, tags are not.
const launchTag = "cloudoptim:launch"

// Request is one launch of equal instances.
type Request struct {
	// ClientToken makes the launch happen once, however often it is asked for.
	ClientToken      string
	LaunchTemplateID string
	SubnetID         string
	InstanceType     string
	Count            int
	Spot             bool
	// Tags beside those of the cluster and the token.
	Tags map[string]string
}

// CapacityError says that AWS has no such instances now: ask for others.
type CapacityError struct {
	Code string
	err  error
}

// Error names AWS's code.
func (e *CapacityError) Error() string { return "no capacity: " + e.Code }

// Unwrap returns AWS's error.
func (e *CapacityError) Unwrap() error { return e.err }

// Launch launches, or finds what an earlier try with the same token launched,
// and returns the instance ids.
func (c *Cloud) Launch(ctx context.Context, account Account, req Request) ([]string, error) {
	client := c.client(account)
	found, err := launched(ctx, client, req.ClientToken)
	if err != nil || len(found) > 0 {
		return found, err
	}
	out, err := client.RunInstances(ctx, runInput(account, req))
	if err != nil {
		return nil, launchError(req, err)
	}
	ids := make([]string, 0, len(out.Instances))
	for _, instance := range out.Instances {
		ids = append(ids, aws.ToString(instance.InstanceId))
	}
	return ids, nil
}

// Launched finds what was launched with a token and still lives, such as when
// the answer to Launch was lost.
func (c *Cloud) Launched(ctx context.Context, account Account, token string) ([]string, error) {
	return launched(ctx, c.client(account), token)
}

func runInput(account Account, req Request) *ec2.RunInstancesInput {
	tags := []types.Tag{
		{Key: aws.String("kubernetes.io/cluster/" + account.ClusterName), Value: aws.String("owned")},
		{Key: aws.String("Name"), Value: aws.String(account.ClusterName + "-cloudoptim")},
		{Key: aws.String(launchTag), Value: aws.String(req.ClientToken)},
	}
	for key, value := range req.Tags {
		tags = append(tags, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	count := aws.Int32(int32(req.Count))
	in := &ec2.RunInstancesInput{
		ClientToken: aws.String(req.ClientToken), MinCount: count, MaxCount: count,
		LaunchTemplate: &types.LaunchTemplateSpecification{LaunchTemplateId: aws.String(req.LaunchTemplateID)},
		InstanceType:   types.InstanceType(req.InstanceType), SubnetId: aws.String(req.SubnetID),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: tags}},
	}
	if req.Spot {
		// No maximum price: it only makes interruptions likelier; the price is checked before.
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{
			MarketType: types.MarketTypeSpot,
			SpotOptions: &types.SpotMarketOptions{
				SpotInstanceType: types.SpotInstanceTypeOneTime, InstanceInterruptionBehavior: types.InstanceInterruptionBehaviorTerminate,
			},
		}
	}
	return in
}

// launched finds instances of an earlier try that still live.
func launched(ctx context.Context, client *ec2.Client, token string) ([]string, error) {
	var ids []string
	pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{Name: aws.String("tag:" + launchTag), Values: []string{token}},
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running"}},
	}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("looking for instances of launch %s: %w", token, err)
		}
		for _, reservation := range page.Reservations {
			for _, instance := range reservation.Instances {
				ids = append(ids, aws.ToString(instance.InstanceId))
			}
		}
	}
	return ids, nil
}

// capacityCodes are EC2's ways of saying: not these, not now.
var capacityCodes = map[string]bool{
	"InsufficientInstanceCapacity": true, "InsufficientHostCapacity": true, "InsufficientReservedInstanceCapacity": true,
	"InsufficientCapacity": true, "SpotMaxPriceTooLow": true, "MaxSpotInstanceCountExceeded": true,
	"InstanceLimitExceeded": true, "VcpuLimitExceeded": true, "Unsupported": true, "UnfulfillableCapacity": true,
}

func launchError(req Request, err error) error {
	var api smithy.APIError
	if errors.As(err, &api) && capacityCodes[api.ErrorCode()] {
		return &CapacityError{Code: api.ErrorCode(), err: err}
	}
	return fmt.Errorf("launching %d %s: %w", req.Count, req.InstanceType, err)
}

// Terminate ends instances; those that are gone are no error.
func (c *Cloud) Terminate(ctx context.Context, account Account, ids []string) error {
	client := c.client(account)
	for len(ids) > 0 {
		batch := ids[:min(len(ids), 500)]
		ids = ids[len(batch):]
		if err := terminate(ctx, client, batch); err != nil {
			return err
		}
	}
	return nil
}

func terminate(ctx context.Context, client *ec2.Client, ids []string) error {
	_, err := client.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
	if err == nil {
		return nil
	}
	var api smithy.APIError
	if !errors.As(err, &api) || !strings.HasPrefix(api.ErrorCode(), "InvalidInstanceID") {
		return fmt.Errorf("terminating %d instances: %w", len(ids), err)
	}
	if len(ids) == 1 {
		return nil
	}
	// One unknown id refuses the whole call.
	return errors.Join(terminate(ctx, client, ids[:len(ids)/2]), terminate(ctx, client, ids[len(ids)/2:]))
}

// States of instances by id; one that EC2 does not know is "terminated".
func (c *Cloud) States(ctx context.Context, account Account, ids []string) (map[string]string, error) {
	states := make(map[string]string, len(ids))
	for _, id := range ids {
		states[id] = string(types.InstanceStateNameTerminated)
	}
	// A filter, not InstanceIds: one unknown id would refuse the whole call.
	for rest := ids; len(rest) > 0; {
		batch := rest[:min(len(rest), 200)]
		rest = rest[len(batch):]
		pages := ec2.NewDescribeInstancesPaginator(c.client(account), &ec2.DescribeInstancesInput{
			Filters: []types.Filter{{Name: aws.String("instance-id"), Values: batch}},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, fmt.Errorf("describing %d instances: %w", len(batch), err)
			}
			for _, reservation := range page.Reservations {
				for _, instance := range reservation.Instances {
					states[aws.ToString(instance.InstanceId)] = string(instance.State.Name)
				}
			}
		}
	}
	return states, nil
}
