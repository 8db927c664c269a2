import { QueryClient, QueryClientProvider, useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { ApiError, api, problemOf } from "./lib/api.ts";
import { type Route, useRoute } from "./lib/router.ts";
import { LiveProvider } from "./lib/store.tsx";
import type { Session } from "./lib/types.ts";
import { Dashboard } from "./pages/dashboard.tsx";
import { ExecutionPage } from "./pages/execution.tsx";
import { Executions } from "./pages/executions.tsx";
import { MigrationPage } from "./pages/migration.tsx";
import { Migrations } from "./pages/migrations.tsx";
import { SignIn } from "./pages/signin.tsx";
import { Empty, Failure, Skeleton } from "./parts/basics.tsx";
import { Boundary } from "./parts/boundary.tsx";
import { Keys } from "./parts/keys.tsx";
import { Layout } from "./parts/layout.tsx";
import { RunDialogProvider } from "./parts/rundialog.tsx";

/** newClient makes the cache. Events say what is stale, so nothing is stale by age. */
export function newClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 10_000,
        gcTime: 60_000,
        // What the server refused it refuses again; what did not answer may answer.
        retry: (failures, error) =>
          failures < 2 && error instanceof ApiError && [0, 502, 503].includes(error.problem.status),
      },
    },
  });
}

export function App({ client }: { client: QueryClient }) {
  return (
    <QueryClientProvider client={client}>
      <Gate />
    </QueryClientProvider>
  );
}

function Gate() {
  const session = useQuery({
    queryKey: ["session"],
    queryFn: ({ signal }) => api.session(signal),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const again = () => void session.refetch();
  if (session.error) {
    const problem = problemOf(session.error);
    if (problem.status === 401) return <SignIn problem={problem} onDone={again} />;
    if (!session.data) {
      return (
        <main className="mx-auto max-w-xl px-5 pt-[14vh]">
          <h1 className="sr-only">aurora</h1>
          <Failure error={session.error} retry={again} />
        </main>
      );
    }
  }
  if (!session.data) return <Skeleton lines={1} />;
  return (
    <LiveProvider session={session.data}>
      <RunDialogProvider>
        <Pages session={session.data} />
      </RunDialogProvider>
    </LiveProvider>
  );
}

function Pages({ session }: { session: Session }) {
  const route = useRoute();
  const title = titleOf(route);
  useEffect(() => {
    document.title = [title, session.env, session.project, "aurora"].filter(Boolean).join(" · ");
  }, [title, session]);
  // A new page begins at its top; a filter on the same page does not.
  const place = route.page === "migration" || route.page === "execution" ? route.page + route.id : route.page;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the place is what changes
  useEffect(() => {
    window.scrollTo(0, 0);
  }, [place]);
  return (
    <Layout route={route}>
      <Boundary place={place}>
        <Page route={route} />
      </Boundary>
      <Keys />
    </Layout>
  );
}

function titleOf(route: Route): string {
  switch (route.page) {
    case "dashboard":
      return "Dashboard";
    case "migrations":
      return "Migrations";
    case "executions":
      return "Executions";
    case "migration":
      return route.id;
    case "execution":
      return `Execution ${route.id}`;
    case "unknown":
      return "Not found";
  }
}

function Page({ route }: { route: Route }) {
  switch (route.page) {
    case "dashboard":
      return <Dashboard />;
    case "migrations":
      return <Migrations query={route.query} />;
    case "migration":
      return <MigrationPage key={route.id} id={route.id} query={route.query} />;
    case "executions":
      return <Executions query={route.query} />;
    case "execution":
      return <ExecutionPage key={route.id} id={route.id} query={route.query} />;
    case "unknown":
      return (
        <>
          <h1 className="sr-only">Not found</h1>
          <Empty title="There is no such page">
            <a href="#/" className="link">
              To the dashboard
            </a>
          </Empty>
        </>
      );
  }
}
