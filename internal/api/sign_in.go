package api

import (
	"context"
	"net/http"
	"time"
)

// SignInLink leads a browser into the dashboard, once.
type SignInLink struct {
	Path    string    `json:"path" example:"/sign-in/link/sKMUbKkk" doc:"on the address that answers here; whoever has it comes in"`
	Expires time.Time `json:"expires" doc:"from then on it leads nowhere; nor does it once it was used"`
}

func (a *API) routeSignIn() {
	register(a, operation{
		id: "make-sign-in-link", method: http.MethodPost, path: "/v1/sign-in-links", status: http.StatusCreated,
		summary: "Make a link that signs in to the dashboard, once",
		detail:  "For the holder of the key that it is asked for with. It is kept in memory alone, and lasts 10 minutes. There is no body.",
	}, func(ctx context.Context, _ *struct{}) (*answer[SignInLink], error) {
		holder, _ := ctx.Value(keyHeld{}).(Holder)
		path, expires, err := a.o.SignInLink(holder)
		if err != nil {
			return nil, err
		}
		return &answer[SignInLink]{SignInLink{path, expires}}, nil
	})
}

// AdminHolder is whose the data folder's own key is.
var AdminHolder = Holder{Name: adminKeyName, Role: RoleAdmin}
