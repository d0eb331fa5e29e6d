package notice

import (
	"strings"
	"unicode"
)

// maxName is AWS's limit for the names of groups and hooks.
const maxName = 255

// hook reads a lifecycle action, with or without EventBridge around it.
func hook(e envelope) ([]Notice, error) {
	transition, err := e.detail.text("LifecycleTransition")
	if err != nil {
		return nil, err
	}
	switch transition {
	case "autoscaling:EC2_INSTANCE_TERMINATING":
	case "autoscaling:EC2_INSTANCE_LAUNCHING":
		return nil, errLaunch
	default:
		return nil, errHook
	}
	instance, err := e.detail.instance("EC2InstanceId")
	if err != nil {
		return nil, err
	}
	h := &Hook{InstanceID: instance}
	for field, into := range map[string]*string{
		"AutoScalingGroupName": &h.Group, "LifecycleHookName": &h.Name, "LifecycleActionToken": &h.Token,
	} {
		if *into, err = e.detail.text(field); err != nil {
			return nil, err
		}
		if *into == "" || len(*into) > maxName || strings.ContainsFunc(*into, unicode.IsControl) {
			return nil, errHook
		}
	}
	n := e.notice(LifecycleAction, instance)
	n.Action, n.Hook, n.Key = "terminate", h, "asg/"+h.Token
	n.keep(e.detail, "Destination", "destination")
	n.Detail["group"], n.Detail["hook"] = h.Group, h.Name
	return []Notice{n}, nil
}
