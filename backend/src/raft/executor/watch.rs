//! A watched value whose waiters wake in the order in which they began to wait. tokio's own watch spreads its waiters by chance,
//! which no seed reaches.

use std::sync::Arc;

use openraft::{
    OptionalSend, OptionalSync,
    rt::watch::{RecvError, SendError, Watch, WatchReceiver, WatchSender},
};
use tokio::sync::{
    Notify,
    watch::{self, Ref},
};

/// The kind of watch.
#[derive(Debug)]
pub(in crate::raft) struct InOrder;

/// Wakes the waiters; also when the last sender goes, which they have to notice.
#[derive(Clone, Debug, Default)]
struct Bell(Arc<Notify>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

/// The writing side. The value goes before the bell rings for the last time.
#[derive(Debug)]
pub(in crate::raft) struct Sender<T> {
    value: watch::Sender<T>,
    bell: Bell,
}

/// The reading side.
#[derive(Debug)]
pub(in crate::raft) struct Receiver<T> {
    value: watch::Receiver<T>,
    bell: Arc<Notify>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), bell: self.bell.clone() }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), bell: self.bell.clone() }
    }
}

impl Watch for InOrder {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = watch::channel(init);
        let bell = Bell::default();
        let waits_for = bell.0.clone();
        (Sender { value: sender, bell }, Receiver { value: receiver, bell: waits_for })
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<InOrder, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.value.send(value).map_err(|refused| SendError(refused.0))?;
        self.bell.0.notify_waiters();
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        let modified = self.value.send_if_modified(modify);
        if modified {
            self.bell.0.notify_waiters();
        }
        modified
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.value.borrow()
    }

    fn subscribe(&self) -> Receiver<T> {
        Receiver { value: self.value.subscribe(), bell: self.bell.0.clone() }
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<InOrder, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        loop {
            let mut rung = std::pin::pin!(self.bell.notified());
            // From here on no ring is missed.
            rung.as_mut().enable();
            // Asked before the value is looked at: what was sent last is seen even when the sender is gone.
            let closed = self.value.has_changed().is_err();
            if self.value.borrow_and_update().has_changed() {
                return Ok(());
            }
            if closed {
                return Err(RecvError(()));
            }
            rung.await;
        }
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.value.borrow()
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.value.borrow_and_update()
    }
}
