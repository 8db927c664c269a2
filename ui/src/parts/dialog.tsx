// A dialog. Radix keeps the focus inside and gives it back. Its Overlay is not
// used: it writes a style element into the page, which the content policy
// forbids.

import { X } from "lucide-react";
import { Dialog as Radix } from "radix-ui";
import type { ReactNode } from "react";

type Props = { open: boolean; onClose: () => void; title: ReactNode; about?: ReactNode; children: ReactNode };

export function Dialog({ open, onClose, title, about, children }: Props) {
  return (
    <Radix.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <Radix.Portal>
        <div className="fixed inset-0 z-40 bg-black/40 backdrop-blur-[1px]" aria-hidden />
        <Radix.Content
          className="dialog fixed inset-x-0 bottom-0 z-50 mx-auto flex max-h-[92dvh] w-full max-w-2xl flex-col rounded-t-xl border border-line bg-raised shadow-[0_16px_48px_var(--shadow)] focus:outline-none sm:top-[8vh] sm:bottom-auto sm:max-h-[84vh] sm:rounded-xl"
          aria-describedby={undefined}
        >
          <header className="flex items-start gap-3 border-b px-5 py-3.5">
            <div className="min-w-0 flex-1">
              <Radix.Title className="font-semibold text-[0.9375rem] leading-6">{title}</Radix.Title>
              {about && <div className="text-ink-2 text-sm">{about}</div>}
            </div>
            <Radix.Close
              aria-label="Close"
              className="-mr-1.5 inline-flex size-7 shrink-0 items-center justify-center rounded text-ink-3 hover:bg-hover hover:text-ink"
            >
              <X size={16} aria-hidden />
            </Radix.Close>
          </header>
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
