package cloud

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/smithy-go"
)

// Hook is a lifecycle action of a group that waits for an answer.
type Hook struct{ Group, Name, Token, InstanceID string }

// KeepWaiting asks the group for more time; false: nobody waits any more.
func (c *Cloud) KeepWaiting(ctx context.Context, account Account, hook Hook) (bool, error) {
	in := &autoscaling.RecordLifecycleActionHeartbeatInput{
		AutoScalingGroupName: aws.String(hook.Group), LifecycleHookName: aws.String(hook.Name), InstanceId: aws.String(hook.InstanceID),
	}
	if hook.Token != "" {
		in.LifecycleActionToken = aws.String(hook.Token)
	}
	_, err := c.in(account).groups.RecordLifecycleActionHeartbeat(ctx, in)
	if over(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("keeping hook %s of group %s waiting: %w", hook.Name, hook.Group, err)
	}
	return true, nil
}

// Continue tells the group to go on; one that does not wait any more is no error.
func (c *Cloud) Continue(ctx context.Context, account Account, hook Hook) error {
	in := &autoscaling.CompleteLifecycleActionInput{
		AutoScalingGroupName: aws.String(hook.Group), LifecycleHookName: aws.String(hook.Name), InstanceId: aws.String(hook.InstanceID),
		LifecycleActionResult: aws.String("CONTINUE"),
	}
	if hook.Token != "" {
		in.LifecycleActionToken = aws.String(hook.Token)
	}
	_, err := c.in(account).groups.CompleteLifecycleAction(ctx, in)
	if err != nil && !over(err) {
		return fmt.Errorf("completing hook %s of group %s: %w", hook.Name, hook.Group, err)
	}
	return nil
}

// over: the action is completed, timed out, or its group is gone.
func over(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "ValidationError"
}
