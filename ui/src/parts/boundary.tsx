import { Component, type ReactNode } from "react";
import { Failure } from "./basics.tsx";

type Props = {
  /** What is shown; another one begins anew. */
  place: string;
  /** What is shown instead of a part that broke; without it, that the page broke. */
  fallback?: ReactNode;
  children: ReactNode;
};
type State = { error?: unknown; place: string };

/** Boundary keeps a mistake of one page, or of one part of it, from taking the whole window. */
export class Boundary extends Component<Props, State> {
  override state: State = { place: this.props.place };

  static getDerivedStateFromError(error: unknown): Partial<State> {
    return { error };
  }

  static getDerivedStateFromProps(props: Props, state: State): State {
    return props.place === state.place ? state : { place: props.place, error: undefined };
  }

  override render() {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    if (this.props.fallback !== undefined) return this.props.fallback;
    return (
      <>
        <h1 className="sr-only">This page broke</h1>
        <Failure error={error} retry={() => this.setState({ error: undefined })} />
      </>
    );
  }
}
