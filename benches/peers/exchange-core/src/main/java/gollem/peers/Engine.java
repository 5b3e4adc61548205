package gollem.peers;

import exchange.core2.core.common.CoreSymbolSpecification;
import exchange.core2.core.common.MatcherEventType;
import exchange.core2.core.common.MatcherTradeEvent;
import exchange.core2.core.common.OrderAction;
import exchange.core2.core.common.OrderType;
import exchange.core2.core.common.SymbolType;
import exchange.core2.core.common.cmd.CommandResultCode;
import exchange.core2.core.common.cmd.OrderCommand;
import exchange.core2.core.common.cmd.OrderCommandType;
import exchange.core2.core.common.config.ExchangeConfiguration;
import exchange.core2.core.orderbook.IOrderBook;
import exchange.core2.core.orderbook.OrderBookDirectImpl;
import exchange.core2.core.processors.MatchingEngineRouter;
import exchange.core2.core.processors.RiskEngine;
import exchange.core2.core.processors.SharedPool;
import exchange.core2.core.processors.journaling.DummySerializationProcessor;

/**
 * exchange-core's own parts on one thread, without the disruptor between them.
 *
 * With risk: the risk engine's check before, the matching engine's router, the risk engine's settlement after, in the
 * order in which the pipeline calls them. Book alone: its fastest book, OrderBookDirectImpl. One command object is used
 * again and again, as the ring buffer does. Not included, as it would only cost more: grouping, journaling, market data.
 */
final class Engine {
    private static final int SYMBOL = 1;
    private static final int BASE = 10;
    private static final int QUOTE = 11;
    private static final int USERS = 1_000;
    private static final long FUNDS = 1_000_000_000_000_000L;

    private final boolean withRisk;
    private final RiskEngine risk;
    private final MatchingEngineRouter router;
    private final IOrderBook book;
    private final OrderFile file;
    private final OrderCommand command = new OrderCommand();
    private final long maxPrice;
    private long seq;

    long trades;
    long quantity;
    long hash = 0x1234;

    Engine(final OrderFile file, final boolean withRisk) {
        this.file = file;
        this.withRisk = withRisk;
        maxPrice = file.maxPrice;
        final ExchangeConfiguration configuration = ExchangeConfiguration.defaultBuilder().build();
        final SharedPool pool = new SharedPool(1024, 64, 1); // As ExchangeCore makes it while its events are not pooled.
        risk = new RiskEngine(0, 1, DummySerializationProcessor.INSTANCE, pool, configuration);
        router = new MatchingEngineRouter(
                0, 1, DummySerializationProcessor.INSTANCE, OrderBookDirectImpl::new, pool, configuration);
        final CoreSymbolSpecification pair = CoreSymbolSpecification.builder()
                .symbolId(SYMBOL)
                .type(SymbolType.CURRENCY_EXCHANGE_PAIR)
                .baseCurrency(BASE)
                .quoteCurrency(QUOTE)
                .baseScaleK(1)
                .quoteScaleK(1)
                .takerFee(2)
                .makerFee(1)
                .build();
        book = new OrderBookDirectImpl(
                pair, router.getObjectsPool(), router.getEventsHelper(), configuration.getLoggingCfg());
        router.getOrderBooks().put(SYMBOL, book);
        risk.getSymbolSpecificationProvider().addSymbol(pair);
        command.symbol = SYMBOL;
        if (withRisk) {
            fund();
        }
        command.symbol = SYMBOL;
    }

    private void fund() {
        for (int user = 1; user <= USERS; user++) {
            command.command = OrderCommandType.ADD_USER;
            command.uid = user;
            risk.preProcessCommand(seq++, command);
            for (final int currency : new int[] {BASE, QUOTE}) {
                command.command = OrderCommandType.BALANCE_ADJUSTMENT;
                command.symbol = currency;
                command.price = FUNDS;
                command.orderId = currency;
                command.orderType = OrderType.GTC; // Read as the kind of adjustment 0: an ordinary one.
                risk.preProcessCommand(seq++, command);
                if (command.resultCode != CommandResultCode.SUCCESS) {
                    throw new IllegalStateException("cannot fund user " + user + ": " + command.resultCode);
                }
            }
        }
    }

    /** Applies a record and counts its trades. */
    void apply(final int at) {
        execute(at);
        MatcherTradeEvent event = command.matcherEvent;
        while (event != null) {
            if (event.eventType == MatcherEventType.TRADE) {
                trades++;
                quantity += event.size;
            }
            event = event.nextEvent;
        }
    }

    /** Applies a record, counts and hashes its trades. */
    void applyHashed(final int at) {
        execute(at);
        if (command.resultCode != CommandResultCode.SUCCESS) {
            throw new IllegalStateException("refused: " + command + " of " + file.kind(at));
        }
        MatcherTradeEvent event = command.matcherEvent;
        while (event != null) {
            if (event.eventType == MatcherEventType.TRADE) {
                trades++;
                quantity += event.size;
                hash = mix(mix(mix(mix(hash, event.matchedOrderId), command.orderId), event.price), event.size);
            }
            event = event.nextEvent;
        }
    }

    private void execute(final int at) {
        prepare(at);
        if (withRisk) {
            final long number = seq++;
            risk.preProcessCommand(number, command);
            router.processOrder(number, command);
            risk.handlerRiskRelease(number, command);
        } else {
            command.resultCode = CommandResultCode.VALID_FOR_MATCHING_ENGINE;
            command.resultCode = IOrderBook.processCommand(book, command);
        }
    }

    private void prepare(final int at) {
        final OrderCommand next = command;
        next.orderId = file.id(at);
        next.uid = file.user(at);
        next.matcherEvent = null;
        next.resultCode = CommandResultCode.NEW;
        switch (file.kind(at)) {
            case OrderFile.PLACE:
                next.command = OrderCommandType.PLACE_ORDER;
                next.action = file.isBid(at) ? OrderAction.BID : OrderAction.ASK;
                next.orderType = file.isImmediate(at) ? OrderType.IOC : OrderType.GTC;
                next.price = file.price(at);
                next.reserveBidPrice = maxPrice; // So that no move of a bid is above what was held for it.
                next.size = file.quantity(at);
                break;
            case OrderFile.CANCEL:
                next.command = OrderCommandType.CANCEL_ORDER;
                break;
            case OrderFile.MOVE:
                next.command = OrderCommandType.MOVE_ORDER;
                next.price = file.price(at);
                break;
            case OrderFile.REDUCE:
                next.command = OrderCommandType.REDUCE_ORDER;
                next.size = file.quantity(at);
                break;
            default:
                throw new IllegalStateException("kind " + file.kind(at));
        }
    }

    private static long mix(final long hash, final long value) {
        return Long.rotateLeft((hash ^ value) * 0x9E37_79B9_7F4A_7C15L, 29);
    }
}
