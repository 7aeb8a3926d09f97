package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/x0tta6bl4/mesh/manifests"
)

// rights asks the API server whether this user may do all that the role of manifests/access lets one do.
func rights(ctx context.Context, c *Cluster) ([]Finding, error) {
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict(manifests.Access, &role); err != nil {
		return nil, fmt.Errorf("the role of manifests/access: %w", err)
	}
	denied := map[string][]string{} // verbs by resource
	for _, r := range role.Rules {
		for _, a := range asked(r) {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &a}}
			answer, err := c.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if err != nil {
				return nil, err
			}
			if !answer.Status.Allowed {
				what := resourceName(a)
				denied[what] = append(denied[what], a.Verb)
			}
		}
	}
	if len(denied) == 0 {
		return nil, nil
	}
	user := ""
	if who, err := c.Kube.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{}); err == nil {
		user = who.Status.UserInfo.Username // not every server tells
	}
	mend := fmt.Sprintf("as an administrator, kubectl apply -f manifests/access && kubectl create clusterrolebinding %s --clusterrole=%[1]s --user=%s",
		role.Name, cmp.Or(user, "NAME"))
	var lacks []string
	for what, verbs := range denied {
		lacks = append(lacks, strings.Join(verbs, ", ")+" "+what)
	}
	slices.Sort(lacks)
	return []Finding{fatal(mend, "%s may not %s", cmp.Or(user, "this user"), strings.Join(lacks, "; "))}, nil
}

// asked lists each single right of a rule, in every namespace.
func asked(r rbacv1.PolicyRule) (all []authorizationv1.ResourceAttributes) {
	names := r.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			resource, sub, _ := strings.Cut(resource, "/")
			for _, name := range names {
				for _, verb := range r.Verbs {
					all = append(all, authorizationv1.ResourceAttributes{Group: group, Resource: resource, Subresource: sub, Name: name, Verb: verb})
				}
			}
		}
	}
	return all
}

// resourceName is a resource as kubectl names it: pods/exec, deployments.apps.
func resourceName(a authorizationv1.ResourceAttributes) string {
	name := a.Resource
	if a.Group != "" {
		name += "." + a.Group
	}
	if a.Subresource != "" {
		name += "/" + a.Subresource
	}
	if a.Name != "" {
		name += " " + a.Name
	}
	return name
}
