package cloud

import (
	"context"
	"errors"
	"fmt"

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
