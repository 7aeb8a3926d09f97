package scenario

import (
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
)

func TestAutoscalersAtRest(t *testing.T) {
	least := int32(3)
	scaler := func(active corev1.ConditionStatus, wants int32) autoscalingv2.HorizontalPodAutoscaler {
		var h autoscalingv2.HorizontalPodAutoscaler
		h.Spec.MinReplicas = &least
		h.Status.DesiredReplicas = wants
		if active != "" {
			h.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{
				{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue}, {Type: autoscalingv2.ScalingActive, Status: active},
			}
		}
		return h
	}
	for name, c := range map[string]struct {
		h    autoscalingv2.HorizontalPodAutoscaler
		want bool
	}{
		"measures, wants its least": {scaler(corev1.ConditionTrue, 3), true},
		"still wants more":          {scaler(corev1.ConditionTrue, 4), false},
		"could not measure":         {scaler(corev1.ConditionFalse, 3), false},
		"has not looked yet":        {scaler("", 0), false},
		"looked at the size only":   {scaler("", 3), false},
	} {
		if got := rests(c.h); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
