package cloud

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
)

// terminateBatch is how many instances EC2 is asked to end at once.
const terminateBatch = 500

// Terminate ends instances for good; those that are gone are no error. A group
// that one belongs to becomes smaller by it, or it would launch another; at its
// least size it stays so and does.
func (c *Cloud) Terminate(ctx context.Context, account Account, ids []string) error {
	return c.end(ctx, account, ids, true)
}

// Retire ends instances whose groups shall launch others for them.
func (c *Cloud) Retire(ctx context.Context, account Account, ids []string) error {
	return c.end(ctx, account, ids, false)
}

func (c *Cloud) end(ctx context.Context, account Account, ids []string, smaller bool) error {
	if len(ids) == 0 {
		return nil
	}
	known, err := c.Describe(ctx, account, ids)
	if err != nil {
		return err
	}
	var alone []string
	for _, id := range ids {
		one := known[id]
		if one.Group() == "" || one.Over() {
			alone = append(alone, id)
			continue
		}
		managed, err := c.endInGroup(ctx, account, id, smaller)
		if err != nil {
			return err
		}
		if !managed {
			alone = append(alone, id)
		}
	}
	for batch := range slices.Chunk(alone, terminateBatch) {
		if err := terminate(ctx, c.client(account), batch); err != nil {
			return err
		}
	}
	return nil
}

// endInGroup returns false when the group has let the instance go: its tag outlives that.
func (c *Cloud) endInGroup(ctx context.Context, account Account, id string, smaller bool) (bool, error) {
	_, err := c.in(account).groups.TerminateInstanceInAutoScalingGroup(ctx, &autoscaling.TerminateInstanceInAutoScalingGroupInput{
		InstanceId: aws.String(id), ShouldDecrementDesiredCapacity: aws.Bool(smaller),
	})
	switch {
	case smaller && refusedFor(err, "min size"):
		return c.endInGroup(ctx, account, id, false)
	case refusedFor(err, "not found"):
		return false, nil
	case err != nil:
		return true, fmt.Errorf("terminating instance %s in its group: %w", id, err)
	}
	return true, nil
}

// refusedFor tells Auto Scaling's refusals apart, which have one code.
func refusedFor(err error, words string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "ValidationError" && strings.Contains(strings.ToLower(api.ErrorMessage()), words)
}

func terminate(ctx context.Context, client *ec2.Client, ids []string) error {
	return withoutUnknown(ids, func(ids []string) error {
		_, err := client.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
		if err != nil {
			return fmt.Errorf("terminating %d instances: %w", len(ids), err)
		}
		return nil
	})
}

// named finds the ids that EC2 complains of.
var named = regexp.MustCompile(`i-[0-9A-Za-z-]+`)

// unknownIn are the ids that EC2 refused a call for; false: that was not why.
func unknownIn(err error) ([]string, bool) {
	var api smithy.APIError
	if err == nil || !errors.As(err, &api) || !strings.HasPrefix(api.ErrorCode(), "InvalidInstanceID") {
		return nil, false
	}
	return named.FindAllString(api.ErrorMessage(), -1), true
}

// withoutUnknown makes a call that EC2 refuses as a whole for one id it does not
// know: again without those that it names, else in halves. Unknown ids alone are
// no error.
func withoutUnknown(ids []string, call func([]string) error) error {
	if len(ids) == 0 {
		return nil
	}
	err := call(ids)
	bad, refused := unknownIn(err)
	if !refused {
		return err
	}
	if len(ids) == 1 {
		return nil
	}
	rest := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(bad, id) })
	if len(rest) < len(ids) {
		return withoutUnknown(rest, call)
	}
	return errors.Join(withoutUnknown(ids[:len(ids)/2], call), withoutUnknown(ids[len(ids)/2:], call))
}
