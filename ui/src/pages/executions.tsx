import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { api } from "../lib/api.ts";
import { href, navigate } from "../lib/router.ts";
import { cx, Empty, Failure, Skeleton } from "../parts/basics.tsx";
import { ExecutionRows } from "../parts/executionrows.tsx";
import { Heading } from "../parts/layout.tsx";
import { Pager } from "../parts/pager.tsx";

const pageSize = 50;

export function Executions({ query }: { query: URLSearchParams }) {
  const cursor = query.get("cursor") ?? "";
  const list = useQuery({
    queryKey: ["executions", cursor],
    queryFn: ({ signal }) => api.executions(cursor || undefined, pageSize, signal),
    placeholderData: keepPreviousData,
  });
  const data = list.data;
  return (
    <>
      <Heading title="Executions" about="Every run of migrations, the newest first." />
      <div className="panel overflow-hidden">
        {list.error && !data ? (
          <div className="p-4">
            <Failure error={list.error} retry={() => void list.refetch()} />
          </div>
        ) : !data ? (
          <Skeleton lines={9} />
        ) : data.executions.length === 0 ? (
          <Empty title="Nothing ran yet">
            The first execution shows here: <code>aurora migrate apply</code>.
          </Empty>
        ) : (
          <>
            <div
              aria-hidden
              className="hidden grid-cols-[0.875rem_7.25rem_minmax(0,1fr)_minmax(0,13rem)_5rem_5.5rem] gap-x-3 border-b px-4 py-2 font-medium text-ink-3 text-xs md:grid"
            >
              <span className="col-start-2">State</span>
              <span>Migration</span>
              <span>By</span>
              <span className="text-right">Took</span>
              <span className="text-right">Started</span>
            </div>
            <div className={cx(list.isPlaceholderData && "opacity-60")}>
              <ExecutionRows executions={data.executions} />
            </div>
            <Pager
              list="executions"
              cursor={cursor}
              next={data.next}
              pageSize={pageSize}
              shown={data.executions.length}
              words="executions"
              go={(next) => {
                navigate(href("executions", "", { cursor: next }));
                window.scrollTo(0, 0);
              }}
            />
          </>
        )}
      </div>
    </>
  );
}
